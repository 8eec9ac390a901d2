"""The file: who may read it, what many kernels at once do to it, and what happens when it fails."""

from __future__ import annotations

import ctypes
import gc
import json
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from wire_server import WireServer, canonical, reply

import comet_magic
from comet_magic import conversations
from comet_magic.errors import CometError
from comet_magic.exchange import session
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message
from comet_magic.messages.request import Request
from comet_magic.messages.usage import Usage
from comet_magic.settings import CometSettings
from comet_magic.store import connection, requests, schema, turns
from comet_magic.store import conversations as archive
from comet_magic.store.database import Store
from comet_magic.store.requests import Ending, RequestRecord
from comet_magic.store.schema import MIGRATIONS

KEY = "sk-test-SECRETSECRET-f3a9"


def answer(text: str) -> Message:
    return Message("assistant", ({"type": "text", "text": text},), stop_reason="end_turn", usage=Usage(1, 2))


def put(
    kept: Store, text: str, cell: str, conversation: str = "c", session: str = "s", at: float | None = None
) -> None:
    question = Message.user(text)
    asked = RequestRecord.of(
        Request("m", 9, (question,)), question, id=uuid.uuid4().hex, at=at or time.time(), endpoint="http://x",
        session=session, conversation=conversation, cell=cell,
    )  # fmt: skip
    requests.begin(kept, asked)
    reply = answer(text.upper())
    turn = Turn.of(cell, (question, reply), request=asked.id, at=asked.at)
    requests.finish(kept, asked, Ending(reply, "", turn, reply.usage, 0.5))


def questions(kept: Store, conversation: str = "c") -> list[str]:
    return [turn.question for turn in turns.conversation(kept, conversation).turns]


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    with WireServer(canonical()) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        yield server


# ---- the file


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    kept = Store(tmp_path / "new" / "store.sqlite")
    put(kept, "hi", "a")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == ["store.sqlite", "store.sqlite-shm", "store.sqlite-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    kept.close()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["store.sqlite"]


def test_it_is_in_the_data_folder_unless_a_setting_says_where(shell: Any, server: WireServer, tmp_path: Path) -> None:
    Ran(shell, "%%claude\nhi")
    assert (tmp_path / "home" / "comet_magic" / "store.sqlite").exists()
    shell.run_line_magic("config", 'CometSettings.store = "beside/it.sqlite"')
    Ran(shell, "%%claude\nhi")
    assert (tmp_path / "beside" / "it.sqlite").exists()


def test_no_key_and_no_header_is_in_it(shell: Any, server: WireServer, tmp_path: Path) -> None:
    Ran(shell, "%%claude\nhi")
    server.scripts[:] = [canonical(f"your key is {KEY}")]
    assert f"your key is {KEY}" not in Ran(shell, f"%%claude -s 'keep {KEY} secret'\nis my key {KEY}?").plain
    assert KEY in str(server.received[-1].json["messages"])  # the question went out as it stands
    session.current().close()
    content = (tmp_path / "home" / "comet_magic" / "store.sqlite").read_bytes()
    assert b"hi" in content
    assert b"SECRETSECRET" not in content
    assert b"uthorization" not in content


def test_keep_false_writes_nothing_and_the_conversation_goes_on(shell: Any, server: WireServer, tmp_path: Path) -> None:
    shell.run_line_magic("config", "CometSettings.keep = False")
    Ran(shell, "%%claude\none")
    Ran(shell, "%%claude\ntwo")
    assert len(server.received[-1].json["messages"]) == 3
    assert list(tmp_path.rglob("*comet_magic*")) == []


def test_memory_is_a_path(shell: Any, server: WireServer, tmp_path: Path) -> None:
    shell.run_line_magic("config", 'CometSettings.store = ":memory:"')
    Ran(shell, "%%claude\none")
    assert conversations.get().turns[0].question == "one"
    assert list(tmp_path.glob("**/*memory*")) == []


def test_any_text_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")
    text = 'lone \ud800, NUL \x00, "quotes", ✓, \u2028, {"a": 1}'
    put(kept, text, "a")
    kept.close()
    (turn,) = turns.conversation(Store(tmp_path / "s.sqlite"), "c").turns
    assert turn.messages[0] == Message.user(text)


# ---- what is opened is closed


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[sqlite3.Connection]]:
    """Every connection that is opened; all must be closed when nobody holds a store any more."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", recorded)
    yield opened
    gc.collect()
    assert opened
    assert [connection for connection in opened if not is_closed(connection)] == []


def is_closed(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def test_a_store_that_nobody_holds_is_closed(connections: list[sqlite3.Connection], tmp_path: Path) -> None:
    put(Store(tmp_path / "s.sqlite"), "hi", "a")
    put(Store(connection.MEMORY), "hi", "a")
    assert questions(Store(tmp_path / "s.sqlite", read_only=True)) == ["hi"]


def test_a_file_that_cannot_be_opened_is_closed(connections: list[sqlite3.Connection], tmp_path: Path) -> None:
    damaged, newer, others, older = (tmp_path / name for name in ("damaged", "newer", "others", "older"))
    prices = "CREATE TABLE prices" + MIGRATIONS[0].partition("CREATE TABLE prices")[2]
    damaged.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    for path in (newer, older):
        put(Store(path), "hi", "a")
        gc.collect()
    for path, statement in (
        (newer, "PRAGMA user_version = 99"), (others, "CREATE TABLE mine (x)"),
        (older, "PRAGMA user_version = 1; DROP TABLE ways; DROP TABLE code_cells; DROP INDEX sessions_by_payer;"
         " DROP TABLE left_out; DROP INDEX requests_by_cell; DROP TABLE models; DROP TABLE vectors;"
         " DROP TABLE embeddings; DROP TABLE row_runs; DROP TABLE rows; DROP TABLE batches;"
         f" DROP TABLE media_files; DROP TABLE media_jobs; {prices}"
         " ALTER TABLE ledger DROP COLUMN replies;"
         " ALTER TABLE sessions DROP COLUMN payer"),
    ):  # fmt: skip
        db = sqlite3.connect(path)
        db.executescript(statement)
        db.close()
    for path in (damaged, newer, others):
        assert Store(path).problem
        Store(path, read_only=True)
    assert questions(Store(older, read_only=True)) == ["hi"]
    assert Store(older).problem == ""


def test_threads_that_end_leave_nothing_open(connections: list[sqlite3.Connection], tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")
    threads = [threading.Thread(target=put, args=(kept, "hi", str(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(questions(kept)) == 4


FORKS = """
import os, sys, threading, comet_magic
settings = comet_magic.CometSettings.instance()
settings.endpoint, settings.store = sys.argv[1], sys.argv[2]
comet_magic.ask("one", chat="c")
asking = threading.Thread(target=lambda: [comet_magic.ask("meanwhile", chat="other") for _ in range(20)])
asking.start()
for number in range(4):
    child = os.fork()
    if not child:
        comet_magic.ask("of a child", chat=f"child {number}")
        sys.exit()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
asking.join()
comet_magic.ask("two", chat="c")
print(len(comet_magic.conversations.get("c").turns), len(comet_magic.conversations.names()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("path", ["s.sqlite", ":memory:"])
def test_forks_beside_a_thread_that_asks_and_the_exit_leave_nothing_open(tmp_path: Path, path: str) -> None:
    """A forked child has nothing to close: its parent's connections were closed before the fork."""
    with WireServer(canonical()) as server:
        command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORKS, server.url, path]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "COMETAPI_KEY": KEY}, capture_output=True, text=True, check=False
        )
    assert done.stderr == ""
    assert done.stdout == ("2 2\n" if path == ":memory:" else "2 6\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_a_forked_child_wrote_is_read_by_its_parent(tmp_path: Path) -> None:
    """The parent's connection is a new one after the fork, and counts the writes of others anew."""
    kept = Store(tmp_path / "s.sqlite")
    put(kept, "one", "a")
    assert questions(kept) == ["one"]
    child = os.fork()
    if not child:
        put(kept, "two", "b")
        os._exit(0)
    os.waitpid(child, 0)
    assert questions(kept) == ["one", "two"]


def test_what_another_kernel_deletes_or_renames_is_begun_anew(tmp_path: Path) -> None:
    kept, other = Store(tmp_path / "s.sqlite"), Store(tmp_path / "s.sqlite")
    put(kept, "one", "a")
    assert questions(kept) == ["one"]
    archive.rename(other, "c", "elsewhere")
    assert questions(kept) == []
    put(kept, "two", "b")
    assert questions(kept) == questions(other) == ["two"]
    rows = kept.read(lambda db: db.execute("SELECT count(*) FROM requests WHERE conversation IS NULL").fetchone()[0])
    assert rows == 0


def test_threads_that_talk_in_one_conversation_see_one_anothers_turns(tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")

    def talk(number: int) -> None:
        for at in range(30):
            questions(kept)
            put(kept, f"{number} {at}", f"{number}-{at}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(questions(kept)) == 120


# ---- many at once


def write_many(path: str, number: int, turns: int) -> None:
    kept = Store(path)
    for at in range(turns):
        put(kept, f"{number} {at}", f"{number}-{at}", session=str(number))
    assert kept.problem == ""
    kept.close()


@pytest.mark.parametrize(("processes", "turns"), [(8, 500)])
def test_many_kernels_write_at_once_and_nothing_is_lost_or_doubled(tmp_path: Path, processes: int, turns: int) -> None:
    path = str(tmp_path / "s.sqlite")
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=write_many, args=(path, number, turns)) for number in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join(100)
    assert [process.exitcode for process in running] == [0] * processes
    kept = Store(path)
    asked = questions(kept)
    assert len(asked) == processes * turns
    assert set(asked) == {f"{number} {at}" for number in range(processes) for at in range(turns)}
    for number in range(processes):
        mine = [text for text in asked if text.startswith(f"{number} ")]
        assert mine == [f"{number} {at}" for at in range(turns)]
    assert kept.read(lambda db: db.execute("SELECT count(*) FROM ledger").fetchone()[0]) == processes * turns


def test_threads_share_one(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    kept = Store(tmp_path / "s.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(kept, str(number), str(number)), range(100)))
    assert sorted(map(int, questions(kept))) == list(range(100))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_its_own(tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")
    put(kept, "parent", "a")
    child = os.fork()
    if not child:
        put(kept, "child", "b")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    put(kept, "parent again", "c")
    assert questions(kept) == ["parent", "child", "parent again"]


# ---- what goes wrong


def warned(ran: Ran) -> str:
    assert ran.error is None
    return " ".join(line for line in ran.plain.split("\n") if line.startswith("[◈ nothing is being stored"))


def test_a_damaged_file_is_told_and_work_goes_on(shell: Any, server: WireServer, tmp_path: Path) -> None:
    path = tmp_path / "home" / "comet_magic" / "store.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database at all, but something else " * 100)
    ran = Ran(shell, "%%claude\none")
    assert f"{path} is damaged (file is not a database): move it away, and a new one is begun]" in warned(ran)
    assert warned(Ran(shell, "%%claude\ntwo")) == "[◈ nothing is being stored: %claude_history says why]"
    assert len(server.received[-1].json["messages"]) == 3
    assert path.read_bytes().startswith(b"this is no database")
    assert "nothing is being stored" in str(Ran(shell, "%claude_history").result.result)


def test_a_page_that_is_damaged_later_is_told_and_work_goes_on(shell: Any, server: WireServer, tmp_path: Path) -> None:
    Ran(shell, "%%claude\none")
    path = session.current().store(CometSettings.instance()).path
    session.current().close()
    content = bytearray(Path(path).read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    Path(path).write_bytes(content)
    ran = Ran(shell, "%%claude\ntwo")
    assert "is damaged (database disk image is malformed)" in warned(ran)
    assert "4\n" in ran.plain


def test_a_store_that_is_mended_is_used_again_with_what_was_asked_meanwhile(
    shell: Any, server: WireServer, tmp_path: Path
) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"no database " * 1000)
    shell.run_line_magic("config", "CometSettings.store = 's.sqlite'")
    for text in ("one", "two"):
        Ran(shell, f"%%claude -c talk\n{text}")
    path.rename(tmp_path / "damaged")
    ran = Ran(shell, "%%claude -c talk\nthree")
    assert "[◈ s.sqlite is used again, and has what was asked meanwhile]" in ran.plain
    session.reset()
    assert questions(Store(path), "talk") == ["one", "two", "three"]


def test_a_store_that_is_removed_under_a_kernel_is_told(shell: Any, server: WireServer, tmp_path: Path) -> None:
    shell.run_line_magic("config", "CometSettings.store = 's.sqlite'")
    Ran(shell, "%%claude -c talk\none")
    for file in tmp_path.glob("s.sqlite*"):
        file.unlink()
    ran = Ran(shell, "%%claude -c talk\ntwo")
    assert "[◈ s.sqlite was moved or removed while it was in use: a new one is begun]" in ran.plain
    session.reset()
    assert questions(Store(tmp_path / "s.sqlite"), "talk") == ["two"]


def test_a_setting_may_change_while_a_reply_is_on_its_way(server: WireServer, tmp_path: Path) -> None:
    settings = CometSettings.instance()
    settings.endpoint, settings.store = server.url, "first.sqlite"

    def change(received: Any) -> Any:
        settings.store = "second.sqlite"
        conversations.names()  # as a panel does after each cell
        return canonical("late")

    server.scripts[:] = [change]
    assert comet_magic.ask("one", chat="c").warnings == ()
    session.reset()
    assert questions(Store("first.sqlite")) == ["one"]


def test_a_newer_file_is_left_alone(shell: Any, server: WireServer, tmp_path: Path) -> None:
    path = tmp_path / "newer.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    shell.run_line_magic("config", f"CometSettings.store = {str(path)!r}")
    said = warned(Ran(shell, "%%claude\none"))
    assert "written by a newer comet_magic: schema 99" in said
    assert "upgrade comet_magic, or set CometSettings.store to another path" in said
    assert path.read_bytes() == before


def test_another_programs_database_is_left_alone(shell: Any, server: WireServer, tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    shell.run_line_magic("config", f"CometSettings.store = {str(path)!r}")
    assert "it is another program's database" in warned(Ran(shell, "%%claude\none"))
    with sqlite3.connect(path) as db:
        assert [row[0] for row in db.execute("SELECT name FROM sqlite_master")] == ["mine"]
    db.close()


def test_a_full_disk_is_told_and_the_conversation_goes_on(shell: Any, server: WireServer) -> None:
    """SQLite says the same of a page limit as of a disk without room."""
    Ran(shell, "%%claude\none")
    kept = session.current().store(CometSettings.instance())
    pages = kept.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    kept._connection.execute(f"PRAGMA max_page_count = {pages}")
    server.scripts[:] = [canonical("long " * 20_000)]
    said = warned(Ran(shell, "%%claude\ntwo"))
    assert "the disk of" in said
    assert "is full: free some space" in said
    server.scripts[:] = [canonical("short")]
    Ran(shell, "%%claude\nthree")
    sent = [message["content"] for message in server.received[-1].json["messages"]]
    assert [sent[0], sent[1], sent[2], sent[4]] == ["one", "4", "two", "three"]


QUOTA = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
import comet_magic
settings = comet_magic.CometSettings.instance()
settings.endpoint, settings.store, settings.retries = sys.argv[1], sys.argv[2], 0
for number in range(12):
    reply = comet_magic.ask(f"question {number} " + "x" * 9000, chat="c")
    assert reply.text == "4", reply
    print(reply.warnings)
print(len(comet_magic.conversations.get("c").turns))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no quota on files there")
def test_a_quota_on_the_file_is_told_and_no_turn_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with WireServer(canonical()) as server:
        command = [sys.executable, "-c", QUOTA, server.url, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *said, count = done.stdout.splitlines()
    assert count == "12"
    assert (
        1 <= sum("nothing is being stored: the disk" in line for line in said) <= 2
    )  # it tries again when it may help
    assert questions(Store(path))[0].startswith("question 0 ")


READ_ONLY = """
import sys, comet_magic
settings = comet_magic.CometSettings.instance()
settings.endpoint, settings.store = sys.argv[1], sys.argv[2]
settings.replay = "always"
first = comet_magic.ask("one")
print(first.text, first.receipt.replayed is not None, first.warnings)
second = comet_magic.ask("two", chat="c")
print(second.text, second.warnings)
print([turn.question for turn in comet_magic.conversations.get("c").turns])
"""


def lose_roots_rights() -> None:
    """Root, too, may write only where the modes say so."""
    if os.geteuid() == 0:
        pr_capbset_drop, cap_dac_override = 24, 1
        ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override)


@pytest.mark.skipif(sys.platform != "linux", reason="root cannot lose its rights there")
def test_a_folder_that_cannot_be_written_is_told_and_its_replies_are_still_there(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    path = folder / "s.sqlite"
    settings = CometSettings.instance()
    with WireServer(canonical("first"), canonical("second")) as server:
        settings.endpoint, settings.store = server.url, str(path)
        comet_magic.ask("one")
        comet_magic.ask("zero", chat="c")
        session.reset()
        folder.chmod(0o555)
        path.chmod(0o444)
        program = [sys.executable, "-c", READ_ONLY, server.url, str(path)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, preexec_fn=lose_roots_rights)
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    first, second, turns = done.stdout.splitlines()
    assert first.startswith("first True ('nothing is being stored: ")
    assert "make it writable, or set CometSettings.store to another path" in first
    assert second == "second ('nothing is being stored: %claude_history says why',)"
    assert turns == "['zero', 'two']"


@pytest.mark.parametrize(("path", "said"), [("a\0b", "is not a path"), ("here", "Is a directory"), ("~nobody/x", "")])
def test_a_path_that_is_none_is_told(shell: Any, server: WireServer, tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "here").mkdir()
    CometSettings.instance().store = path
    assert said in warned(Ran(shell, "%%claude\none"))


def test_texts_that_no_database_takes_are_kept_all_the_same(shell: Any, server: WireServer) -> None:
    refusal = b'{"error": {"type": "invalid_request_error", "message": "bad \\ud83d"}}'
    server.scripts[:] = [reply(refusal, status=400)]
    assert isinstance(Ran(shell, "%%claude\none").error, comet_magic.APIError)
    server.scripts[:] = [canonical("fine")]
    comet_magic.ask("hi", chat="bad \udce9 name")
    assert conversations.names()[0] == "bad \ufffd name"


def test_an_interrupt_while_waiting_for_a_lock_leaves_no_transaction_open(tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")

    class Interrupted:
        """A connection whose BEGIN succeeds just before the interrupt is raised."""

        def __getattr__(self, name: str) -> Any:
            return getattr(kept._connection, name)

        def execute(self, text: str, *values: Any) -> Any:
            done = kept._connection.execute(text, *values)
            if text.startswith("BEGIN"):
                raise KeyboardInterrupt
            return done

    with pytest.raises(KeyboardInterrupt), connection.transaction(Interrupted(), "BEGIN IMMEDIATE"):  # type: ignore[arg-type]
        pass
    assert not kept._connection.in_transaction
    put(kept, "hi", "a")
    assert questions(Store(tmp_path / "s.sqlite")) == ["hi"]


@pytest.mark.parametrize("moment", ["budget", "finish"])
def test_an_interrupt_at_an_awkward_moment_leaves_nothing_in_flight(
    shell: Any, server: WireServer, moment: str
) -> None:
    def interrupted(*_: Any) -> Any:
        patched.undo()
        raise KeyboardInterrupt

    patched = pytest.MonkeyPatch()
    patched.setattr(
        {"budget": "comet_magic.exchange.journal.Journal.note", "finish": "comet_magic.store.requests.put_entry"}[
            moment
        ],
        interrupted,
    )
    assert isinstance(Ran(shell, "%%claude\none").error, KeyboardInterrupt)
    kept = session.current().store(CometSettings.instance())
    states = kept.read(lambda db: [row[0] for row in db.execute("SELECT state FROM requests")])
    assert states == ([] if moment == "budget" else ["partial"])


def test_threads_that_ask_first_share_a_store(server: WireServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    CometSettings.instance().endpoint, CometSettings.instance().keep = server.url, False
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: comet_magic.ask(str(number), chat="x"), range(8)))
    assert len(conversations.get("x").turns) == 8
    assert session.current().totals.replies == 8


def test_what_another_kernel_did_meanwhile_is_not_undone(shell: Any, server: WireServer, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    other = Store(path)
    put(other, "old", "x", "talk")
    put(other, "to forget", "y", "talk")
    other.close()
    whole = path.read_bytes()
    path.write_bytes(b"no database " * 1000)
    shell.run_line_magic("config", "CometSettings.store = 's.sqlite'")
    Ran(shell, "%%claude -c talk\nmine")
    path.write_bytes(whole)
    other = Store(path)
    put(other, "new", "x", "talk")
    archive.forget(other, "talk", "y")
    other.close()
    Ran(shell, "%%claude -c talk\nmine, too")
    session.reset()
    assert questions(Store(path), "talk") == ["new", "mine", "mine, too"]


def test_a_fork_keeps_its_replies_when_its_parent_goes_and_takes_them_when_it_goes(tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")
    put(kept, "hi", "a", "parent")
    archive.fork(kept, "parent", "child")
    put(kept, "more", "b", "parent")
    archive.fork(kept, "parent", "child")  # as a notebook that is run again does
    assert questions(kept, "child") == ["hi"]
    archive.delete(kept, "parent")
    count = lambda: kept.read(lambda db: db.execute("SELECT count(*) FROM replies").fetchone()[0])  # noqa: E731
    assert count() == 1
    archive.delete(kept, "child")
    assert count() == 0


def test_a_store_that_is_only_read_is_not_changed(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude -c talk\none")
    session.reset()
    shell.run_line_magic("config", "CometSettings.replay = 'only'")
    for what in ("--delete", "--rename x", "--forget 1"):
        assert "is only read now" in str(Ran(shell, f"%claude_history -c talk {what}").error)


def test_a_lock_that_never_ends_is_told_and_work_goes_on(
    shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOCKED_S", 0.2)
    Ran(shell, "%%claude\none")
    path = session.current().store(CometSettings.instance()).path
    session.current().close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    said = warned(Ran(shell, "%%claude\ntwo"))
    assert f"another program has held {path} locked for 0.2 s" in said
    assert "is used again once it is free" in said
    assert [m["content"] for m in server.received[-1].json["messages"]] == ["one", "4", "two"]
    assert "nothing is being stored" in Ran(shell, "%%claude\nthree").plain
    other.close()
    assert "is used again, and has what was asked meanwhile" in Ran(shell, "%%claude\nfour").plain
    assert questions(Store(path), conversations.names()[0]) == ["one", "two", "three", "four"]


# ---- versions


def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the version before."""
    path = tmp_path / "s.sqlite"
    old = Store(path)
    put(old, "hi", "a")
    old.close()
    monkeypatch.setattr(connection, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE turns ADD COLUMN colour TEXT"))
    return path


def test_an_older_file_is_brought_forward_and_a_copy_of_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Store(older(tmp_path, monkeypatch))
    assert new.problem == ""
    assert new.read(lambda db: db.execute("SELECT wire, colour FROM turns").fetchone())["colour"] is None
    monkeypatch.undo()
    copy = Store(tmp_path / f"s.sqlite.v{len(schema.MIGRATIONS)}")
    assert questions(copy) == ["hi"]
    assert stat.S_IMODE((tmp_path / copy.path.name).stat().st_mode) == 0o600


def test_an_older_file_is_read_as_it_is_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = older(tmp_path, monkeypatch)
    before = path.read_bytes()
    reader = Store(path, read_only=True)
    found = reader.look_behind(lambda db: db.execute("SELECT wire, colour FROM turns").fetchall())
    assert found is not None
    assert [row["colour"] for row in found] == [None]
    assert path.read_bytes() == before
    assert list(tmp_path.glob("*.v*")) == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.sqlite"
    old = Store(path)
    put(old, "hi", "a")
    put(old, "ho", "b")
    old.close()
    broken = "ALTER TABLE turns ADD COLUMN colour TEXT; CREATE UNIQUE INDEX alone ON ledger (session)"
    monkeypatch.setattr(connection, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    assert "UNIQUE constraint failed" in Store(path).problem
    monkeypatch.undo()
    assert questions(Store(path)) == ["hi", "ho"]


# ---- what is removed


def test_what_is_old_goes_and_what_it_cost_stays(tmp_path: Path) -> None:
    kept = Store(tmp_path / "s.sqlite")
    now = time.time()
    put(kept, "very old", "a", "old", at=now - 1000)
    put(kept, "old", "a", "mixed", at=now - 1000)
    put(kept, "new", "b", "mixed", at=now)
    put(kept, "replaced", "c", "other", at=now - 1000)
    put(kept, "in its place", "c", "other", at=now)
    assert archive.prune(kept, now - 500) == (2, 1)
    assert [summary.name for summary in archive.conversations(kept)] == ["other", "mixed"]
    assert questions(kept, "mixed") == ["old", "new"]  # a conversation goes whole, or stays whole
    assert kept.read(lambda db: db.execute("SELECT sum(cost_usd) FROM ledger").fetchone()[0]) == 2.5
    for number in range(200):
        put(kept, "x" * 20_000, str(number), "large", at=now - 1000)
    size = (tmp_path / "s.sqlite").stat().st_size
    archive.prune(kept, now - 500)
    assert (tmp_path / "s.sqlite").stat().st_size < size / 10  # the room is the disk's again
    kept.close()
    assert b"very old" not in (tmp_path / "s.sqlite").read_bytes()


def test_a_store_stays_under_its_limit(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [canonical("long " * 20_000)]
    shell.run_line_magic("config", "CometSettings.store_limit_mb = 1")
    shell.run_line_magic("config", "CometSettings.history_turns = 0")
    for number in range(12):
        ran = Ran(shell, f"%%claude -c c{number}\n{number}")
        assert ran.error is None
    kept = session.current().store(CometSettings.instance())
    assert kept.size_mb() < 1.3
    assert Path(kept.path).stat().st_size < 2e6
    assert "c11" in conversations.names()
    assert "c0" not in conversations.names()


def test_a_forgotten_turn_is_gone_from_the_file(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude\nthe password is swordfish")
    Ran(shell, "%claude_history --forget 1")
    path = Path(session.current().store(CometSettings.instance()).path)
    session.current().close()
    assert b"swordfish" not in path.read_bytes()


def test_a_message_survives_the_store_whole() -> None:
    content: Any = (
        {"type": "thinking", "thinking": "hm", "signature": "Eq"},
        {"type": "text", "text": "4", "citations": [{"type": "x"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, None]}},
    )
    message = Message(
        "assistant", content, "m", "end_turn", None, {"category": None}, Usage(1, None, 3), "msg_1", "req_1", 1.5,
        None, "no int", 9, "label", ("odd",),
    )  # fmt: skip
    assert requests.from_json(requests.to_json(message)) == message
    assert json.loads(requests.to_json(message))["usage"]["output_tokens"] is None


# ---- a file that somebody else may have written

ALTERED: dict[str, Any] = {
    "no JSON": "x", "a list": [], "bytes": b"\xff", "null": None, "no content": {"content": None},
    "numbers": {"content": [1, 2]}, "usage a list": {"usage": [1]}, "calls odd": {"calls": [{"name": "x"}]},
    "calls of nobody": {"before": [{"role": "user", "content": "x"}]}, "role": {"role": "system"}, "deep": "[" * 100_000,
}  # fmt: skip
READ: dict[str, Any] = {
    "a later version's field": {"later": 1}, "a count": {"usage": {"x": 1, "input_tokens": "3", "output_tokens": 5}},
    "warnings": {"warnings": [1, "so"]}, "text a number": {"content": [{"type": "text", "text": 4}]},
    "thinking": {"content": [{"type": "thinking", "thinking": 7}, {"type": "text", "text": "4"}]}, "id": {"id": [1]},
}  # fmt: skip


def altered(shell: Any, tmp_path: Path, change: Any) -> Ran:
    """The question of a stored reply that has been altered, asked again."""
    settings = CometSettings.instance()
    settings.store, settings.replay = str(tmp_path / "s.sqlite"), "always"
    Ran(shell, "%%claude\nWhat is 2 + 2?")
    session.current().close()
    db = sqlite3.connect(settings.store)
    message = json.loads(db.execute("SELECT message FROM replies").fetchone()[0])
    changed = json.dumps({**message, **change}) if isinstance(change, dict) else change
    with db:
        db.execute(
            "UPDATE replies SET message = ?", (json.dumps(changed) if isinstance(changed, list) else changed or "",)
        )
    db.close()
    return Ran(shell, "%%claude --alone\nWhat is 2 + 2?")


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_a_row_that_cannot_be_read_is_none(shell: Any, server: WireServer, tmp_path: Path, change: Any) -> None:
    ran = altered(shell, tmp_path, change)
    assert ran.error is None
    assert "replayed" not in ran.plain
    assert len(server.received) == 2


@pytest.mark.parametrize("change", READ.values(), ids=READ)
def test_a_field_that_is_odd_is_left_out(shell: Any, server: WireServer, tmp_path: Path, change: Any) -> None:
    ran = altered(shell, tmp_path, change)
    assert ran.error is None
    assert ran.plain.startswith("4")
    assert "replayed" in ran.plain
    assert "s.sqlite" in ran.plain  # a store that was named is named
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE turns SET wire = 'x'", "UPDATE turns SET wire = 7", "UPDATE turns SET wire = ''",
        "UPDATE turns SET place = 9e999", "UPDATE turns SET at = 9e999", "UPDATE turns SET at = 1e300",
        "UPDATE turns SET cost_usd = ''", "UPDATE turns SET tokens = ''", "UPDATE turns SET at = x'00'", "UPDATE turns SET size = 'x', at = 'y'",
        """UPDATE turns SET wire = '[{"role": "user", "content": "x"}]'""",
        """UPDATE turns SET wire = '[{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url":
           "http://evil.example/"}}]}, {"role": "assistant", "content": "a"}]'""",
    ],
)  # fmt: skip
def test_a_turn_that_is_none_is_not_sent_on(shell: Any, server: WireServer, tmp_path: Path, statement: str) -> None:
    settings = CometSettings.instance()
    settings.store = str(tmp_path / "s.sqlite")
    Ran(shell, "%%claude -c a\none")
    session.current().close()
    db = sqlite3.connect(settings.store)
    with db:
        db.execute(statement)
    db.close()
    session.reset()
    assert Ran(shell, "%%claude -c a\ntwo").error is None
    for line in ("%claude_history", "%claude_history --all", "%claude_history -c a", "%claude_usage --all"):
        assert Ran(shell, line).error is None
    sent = [one for one in server.received if one.body][-1]  # the report asks the gateway what was spent, without one
    assert "evil" not in sent.body.decode()
    assert len(sent.json["messages"]) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON ledger BEGIN DELETE FROM ledger; END",
        "ALTER TABLE sessions ADD COLUMN slow TEXT CHECK (instr(hex(zeroblob(9)), '1') = 0)",
        "CREATE INDEX slow ON turns (hex(zeroblob(size)))",
        "CREATE TABLE more (x)",
        "ALTER TABLE requests RENAME TO r; CREATE VIEW requests AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL"
        " SELECT n + 1 FROM c) SELECT r.* FROM r, c",
    ],
)
def test_a_file_with_instructions_of_its_own_is_not_used(
    shell: Any, server: WireServer, tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "s.sqlite"
    Store(path).close()
    db = sqlite3.connect(path)
    db.executescript(statement)
    db.close()
    CometSettings.instance().store = str(path)
    assert "has views, triggers or other instructions" in warned(Ran(shell, "%%claude\none"))


def test_an_interrupt_is_heard_while_sqlite_works(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    timer = threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "s.sqlite").read(lambda db: db.execute(endless).fetchone())


def test_an_imported_picture_by_its_address_is_refused(shell: Any, server: WireServer, tmp_path: Path) -> None:
    source = {"type": "url", "url": "http://evil.example/t"}
    lines = [{"role": "user", "content": [{"type": "image", "source": source}]}, {"role": "assistant", "content": "a"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    error = Ran(shell, "%claude_history --import x.jsonl -c x").error
    assert isinstance(error, CometError)
    assert "by its address" in error.what


def test_a_file_system_without_locks_is_named_at_once_and_read(
    shell: Any, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    CometSettings.instance().store = str(tmp_path / "s.sqlite")
    Ran(shell, "%%claude -c talk\none")
    session.reset()

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    said = warned(Ran(shell, "%%claude -c talk\ntwo"))
    assert "has no locks" in said
    assert "damaged" not in said
    assert [message["content"] for message in server.received[-1].json["messages"]] == ["one", "4", "two"]
