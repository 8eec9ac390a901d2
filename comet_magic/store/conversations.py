"""Conversations as wholes: listed, set aside, renamed, forked, deleted, and pruned when they are old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from ..messages.conversation import Turn
from ..named_tuple import NamedTuple
from .connection import Connection, Row
from .database import Store
from .embeddings import drop_oldest
from .media import prune_jobs
from .rows import drop_oldest_run, prune_runs
from .turns import STANDS, conversation_id, find_conversation_id, is_number, put_turn, turns_of

OF_NO_TURN = "NOT EXISTS (SELECT 1 FROM turns WHERE turns.request = requests.id)"


class Summary(NamedTuple):
    """A conversation in a list. began, latest: seconds since 1970."""

    name: str
    turns: int
    began: float
    latest: float
    cost_usd: float | None


def conversations(store: Store) -> list[Summary]:
    """Return all conversations, the latest first."""

    def act(db: Connection) -> list[Row]:
        return db.execute(
            "SELECT name, count(cell) AS turns, began, coalesce(max(at), began) AS latest, sum(cost_usd) AS cost_usd"
            f" FROM conversations LEFT JOIN turns ON conversation = id AND {STANDS} GROUP BY id"
            " ORDER BY latest DESC, id DESC"
        ).fetchall()

    rows = [row for row in store.find_all(act) if isinstance(row["name"], str)]
    return list({row["name"]: _summary(row) for row in reversed(rows)}.values())[::-1]


def _summary(row: Row) -> Summary:
    began, latest, cost_usd = (row[name] if is_number(row[name]) else None for name in ("began", "latest", "cost_usd"))
    return Summary(row["name"], row["turns"], began or 0.0, latest or 0.0, cost_usd)


def names(store: Store) -> list[str]:
    """Return the conversations, the latest first."""

    def act(db: Connection) -> list[str]:
        latest = "(SELECT max(at) FROM turns WHERE conversation = c.id)"
        return [
            row[0]
            for row in db.execute(f"SELECT name FROM conversations c ORDER BY ifnull({latest}, began) DESC, id DESC")
        ]

    return list(dict.fromkeys(store.find_all(act)))


def rename(store: Store, name: str, new: str) -> None:
    """Rename a conversation. Raises: ConfigError when there is none, or one of the new name."""
    _check_writable(store)

    def act(db: Connection) -> None:
        _check_free(store, db, new)
        db.execute("UPDATE conversations SET name = ? WHERE id = ?", (new, _existing(store, db, name)))

    store.write(act)


def fork(store: Store, name: str, new: str) -> None:
    """Make a second conversation with the same turns, which goes its own way. Done again, it changes nothing.

    Raises: as `rename`.
    """

    def act(db: Connection) -> None:
        old = _existing(store, db, name)
        if _is_fork(db, new, name) or store.look_behind(lambda behind: _is_fork(behind, new, name)):
            return
        _check_free(store, db, new)
        made = conversation_id(store, db, new)
        db.execute("UPDATE conversations SET forked_from = ? WHERE id = ?", (old, made))
        columns = "cell, place, digest, size, asked_after, request, at, session, execution, cost_usd, tokens, wire"
        db.execute(f"INSERT INTO turns SELECT ?, {columns} FROM turns WHERE conversation = ? AND {STANDS}", (made, old))

    store.write(act)


def _is_fork(db: Connection, name: str, parent: str) -> bool:
    row = db.execute(
        "SELECT p.name FROM conversations c JOIN conversations p ON p.id = c.forked_from WHERE c.name = ?", (name,)
    ).fetchone()
    return row is not None and row[0] == parent


def put(store: Store, new: Mapping[str, Iterable[Turn]]) -> None:
    """Make new conversations of those turns, all or none. Raises: ConfigError when there is one of a name."""

    def act(db: Connection) -> None:
        for name, turns in new.items():
            _check_free(store, db, name)
            made = conversation_id(store, db, name)
            for turn in turns:
                put_turn(db, made, turn)

    store.write(act)


def forget(store: Store, name: str, cell: str) -> None:
    """Remove a turn, with every reply to its cell."""
    _check_writable(store)

    def act(db: Connection) -> None:
        old = _existing(store, db, name)
        db.execute("DELETE FROM turns WHERE conversation = ? AND cell = ?", (old, cell))
        db.execute(f"DELETE FROM requests WHERE conversation = ? AND cell = ? AND {OF_NO_TURN}", (old, cell))

    store.write(act)
    store.give_back()


def delete(store: Store, name: str) -> None:
    """Remove a conversation with its turns and replies. What it cost stays in the ledger."""
    _check_writable(store)

    def act(db: Connection) -> None:
        _delete(db, _existing(store, db, name))

    store.write(act)
    store.give_back()


def _delete(db: Connection, conversation: int) -> None:
    of_turns = db.execute("SELECT request FROM turns WHERE conversation = ?", (conversation,)).fetchall()
    db.execute("DELETE FROM turns WHERE conversation = ?", (conversation,))
    db.execute(f"DELETE FROM requests WHERE conversation = ? AND {OF_NO_TURN}", (conversation,))
    # Of a fork, the requests are its parent's, which may have gone before it.
    db.executemany(f"DELETE FROM requests WHERE id = ? AND conversation IS NULL AND {OF_NO_TURN}", of_turns)
    db.execute("DELETE FROM conversations WHERE id = ?", (conversation,))


def _check_writable(store: Store) -> None:
    if store.behind is not None:
        raise ConfigError(f"{store.path} is only read now, and stays as it is", "%claude_history --all says why")


def _existing(store: Store, db: Connection, name: str) -> int:
    if not _exists(db, name) and not store.look_behind(lambda behind: _exists(behind, name)):
        raise ConfigError(f"there is no conversation {name!r}", "%claude_history --all lists them")
    return conversation_id(store, db, name)


def _turns_there(store: Store, db: Connection, name: str) -> tuple[Turn, ...]:
    return _all_turns(db, name) or store.look_behind(lambda behind: _all_turns(behind, name)) or ()


def _exists(db: Connection, name: str) -> bool:
    return find_conversation_id(db, name) is not None


def _all_turns(db: Connection, name: str) -> tuple[Turn, ...]:
    return turns_of(db, find_conversation_id(db, name))


def _check_free(store: Store, db: Connection, name: str) -> None:
    if _turns_there(store, db, name):
        raise ConfigError(f"there is a conversation {name!r} already", "choose another name, or delete that one")
    db.execute("DELETE FROM conversations WHERE name = ?", (name,))  # an empty one is in nobody's way


# ---- what goes


def prune(store: Store, before: float, keep: str = "", *, is_by_user: bool = True) -> tuple[int, int]:
    """Remove what is older than `before`: conversations by their latest turn, replies by their own.

    before: seconds since 1970. keep: a conversation that stays. What they cost stays in the ledger.
    is_by_user: whether the user asks for it; the replies to rows of tables go then only.
    Returns: how many replies, and how many conversations went.
    """

    def act(db: Connection) -> tuple[int, int]:
        old = db.execute(
            "SELECT c.id FROM conversations c LEFT JOIN turns ON turns.conversation = c.id WHERE name <> ?"
            " AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.conversation = c.id AND r.state = 'in flight')"
            " GROUP BY c.id HAVING coalesce(max(at), began) < ?",
            (keep, before),
        ).fetchall()
        gone = _count(db)
        for (conversation,) in old:
            _delete(db, conversation)
        db.execute(f"DELETE FROM requests WHERE at < ? AND state <> 'in flight' AND {OF_NO_TURN}", (before,))
        if is_by_user:
            prune_runs(db, before)
            prune_jobs(db, before)
        return gone - _count(db), len(old)

    gone = store.write(act)
    store.give_back()
    return gone


def _count(db: Connection) -> int:
    return int(db.execute("SELECT count(*) FROM requests").fetchone()[0])


def shrink(store: Store, most_mb: float, keep: str = "") -> int:
    """Remove the oldest until the file is under nine tenths of `most_mb`. Returns: how many replies went."""
    ages = store.read(lambda db: [row[0] for row in db.execute("SELECT at FROM requests ORDER BY at")])
    gone = 0
    while store.size_mb() > most_mb * 0.9 and drop_oldest(store):  # they can be asked for again; a reply is another one
        pass
    while store.size_mb() > most_mb * 0.9 and drop_oldest_run(store):
        pass
    for tenth in range(1, 11):
        if ages and store.size_mb() > most_mb * 0.9:
            gone += prune(store, ages[len(ages) * tenth // 10 - 1] + 1e-3, keep, is_by_user=False)[0]
    return gone
