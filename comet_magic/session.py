"""This process's part: its store, the cells that it ran, the latest reply, and what it has cost so far."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from . import ledger, records
from .inline import whole_text
from .messages import Message, Usage, dollars
from .settings import CometSettings
from .store import MEMORY, Store

PRICES_HOLD_S = 86_400.0  # seconds until the endpoint's prices are looked up again
PRICES_RETRY_S = 3600.0
A_DAY_S = 86_400.0


class Totals(NamedTuple):
    """What this process has asked for so far. usd: of the replies with a known price, all but `unpriced`."""

    replies: int = 0
    usage: Usage = Usage()
    usd: float = 0.0
    unpriced: int = 0
    replayed: int = 0

    def plus(self, usage: Usage, usd: float | None) -> Totals:
        unpriced = self.unpriced + (1 if usd is None else 0)
        return Totals(self.replies + 1, self.usage + usage, self.usd + (usd or 0), unpriced, self.replayed)

    @property
    def money(self) -> str:
        """`session ≈ $0.21`, or "" where no price is known."""
        if self.unpriced == self.replies:
            return ""
        rest = f", {self.unpriced} of {self.replies} replies without a price" if self.unpriced else ""
        return f"session ≈ {dollars(self.usd)}{rest}"

    def __str__(self) -> str:
        again = [f"{self.replayed:,} replayed at no cost"] if self.replayed else []
        if not self.replies:
            return "".join(again) or "no replies yet"
        parts = [f"{self.replies:,} {'reply' if self.replies == 1 else 'replies'}", str(self.usage)]
        return " · ".join([*parts, *([f"≈ {dollars(self.usd)}"] if self.money else []), *again])


class Place(NamedTuple):
    """Where a question stands. conversation: "" for none.

    cell: the front end's id of the cell, "" where it gives none.        execution: the cell's In[] number.
    run: what is the same for all questions of one execution.
    is_notebook: its cells are run again as they stand, which is what replays are for.
    """

    conversation: str = ""
    cell: str = ""
    execution: int | None = None
    run: object = None
    is_notebook: bool = False


RUN = "run:"  # begins the key of a cell without an id: run:KERNEL:NUMBER


def run_of(cell: str) -> str:
    """Which kernel first ran a cell without an id; "" for a cell with one."""
    return cell.split(":")[1] if cell.startswith(RUN) else ""


class Session:
    """One process from its start to its end, or what a test takes for one."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.process = os.getpid()
        self.is_fork = False
        self.totals = Totals()
        self.latest: Message | None = None
        self._ran: dict[str, int] = {}  # cells, or requests where cells have no id
        self.refused_cache: set[str] = set()  # endpoints that take no cache_control
        self._last_cells: dict[str, str] = {}  # by conversation: the cell that ran last
        self._run: object = None  # the execution that asked last
        self._runs = 0  # how many have asked
        self._asked_in_run = 0  # how much the last one has
        self._store: Store | None = None
        self._stores: dict[tuple[object, ...], Store] = {}
        self._opened_as: tuple[object, ...] = ()
        self._said = self._news = ""
        self.shrunk_to_mb = 0.0  # what the store held after its oldest had gone
        self._lock = threading.RLock()
        self._prices_asked: dict[str, float] = {}
        self.began = time.strftime("%Y%m%d-%H%M%S")

    # ---- the store

    def store(self, settings: CometSettings) -> Store:
        """The store that the settings name now; opened on first use."""
        path: Path | str = store_path(settings) if settings.keep else MEMORY
        opened_as = (str(path), settings.replay == "only")
        with self._lock:
            return self._opened(path, opened_as)

    def _opened(self, path: Path | str, opened_as: tuple[str, bool]) -> Store:
        if self._store is None or opened_as != self._opened_as:
            self._opened_as, self._said, self._news = opened_as, "", ""
            store = self._stores.get(opened_as)
            if store is None or store.problem:
                # Others stay open: a cell may be in the middle of its reply while a panel changes the setting.
                store = self._stores[opened_as] = Store(path, read_only=opened_as[1])
                records.begin_session(store, self.id, _host(), os.getpid())
                atexit.register(self.close)
            self._store = store
            self.sweep()
        elif news := self._store.look_again(lambda memory, file: records.carry_over(memory, file, self.id)):
            self._said, self._news = self._store.problem, news
            records.begin_session(self._store, self.id, _host(), os.getpid())
        return self._store

    def sweep(self) -> None:
        """Find the replies that ended kernels left in flight."""
        if self._store is not None:
            records.sweep(self._store, lambda *asked: _is_dead(_host(), *asked))

    @property
    def problem(self) -> str:
        """What is wrong with the store, "" if nothing is known to be."""
        return self._store.problem if self._store else ""

    def news_of_store(self) -> str:
        """What is to be said of the store under a reply: all of it once, then in short."""
        news, self._news = self._news, ""
        if news:
            return news
        said, self._said = self._said, self.problem
        if self._said and self._said == said:
            return "nothing is being kept: %claude_history says why"
        return self._said

    def close(self) -> None:
        atexit.unregister(self.close)
        while self._stores:
            self._stores.popitem()[1].close()
        self._store = None

    # ---- cells

    def cell_key(self, place: Place) -> str:
        """The key of the next question in its conversation: the second of one cell has another than the first."""
        with self._lock:
            if place.run != self._run:
                self._run, self._runs, self._asked_in_run = place.run, self._runs + 1, 0
            self._asked_in_run += 1
            count = self._asked_in_run
        cell = place.cell or f"{RUN}{self.id[:8]}:{self._runs}"
        if self.is_fork and place.cell:
            cell += f"/{self.id[:8]}"  # the children of one cell are not one another
        return cell if count == 1 else f"{cell}/{count}"

    def times_run(self, cell: str) -> int:
        """How often it has been run in this kernel, this time included."""
        with self._lock:
            self._ran[cell] = self._ran.get(cell, 0) + 1
            return self._ran[cell]

    def cell_before(self, conversation: str) -> str | None:
        """The cell that this process ran last in that conversation."""
        return self._last_cells.get(conversation)

    def ran_in(self, conversation: str, cell: str) -> None:
        self._last_cells[conversation] = cell

    def made(self, key: str) -> bool:
        """Whether a cell without an id, which has that key, was run by this process."""
        return key.startswith(f"{RUN}{self.id[:8]}:")

    def conversation_of(self, settings: CometSettings, shell: Any | None) -> str:
        """The conversation of this notebook: what is set, else its path, else a name of this process's own."""
        if settings.conversation:
            return whole_text(settings.conversation).strip()
        told = shell.user_ns.get("__vsc_ipynb_file__") if shell else None  # VS Code's word for it
        # A kernel that a notebook's code starts, as papermill does, inherits the variable; but it has no cells.
        notebook = str(told or (settings.notebook_variable if _cell_of(shell) else ""))
        if not Path(notebook).suffix:
            return f"kernel-{self.began}-{self.id[:4]}"
        return whole_text(_from_home(notebook))

    def place_in(self, shell: Any | None, conversation: str) -> Place:
        """Where a question stands that is asked now, in a cell of `shell` if there is one."""
        if shell is None:
            return Place(whole_text(conversation).strip(), run="a script")  # whose questions are those of one long cell
        parent = _parent_of(shell)
        # Its execution_count is the cell's own number in some versions, and the next one's in others.
        number = len(shell.history_manager.input_hist_parsed) - 1
        terminal = sys.modules.get("IPython.terminal.interactiveshell")
        return Place(
            whole_text(conversation).strip(),
            cell=_cell_of(shell),
            execution=number,
            run=parent.get("header", {}).get("msg_id") or number,
            is_notebook=terminal is None or not isinstance(shell, terminal.TerminalInteractiveShell),
        )

    # ---- usage

    def count(self, usage: Usage, usd: float | None) -> None:
        with self._lock:
            self.totals = self.totals.plus(usage, usd)

    def count_replay(self) -> None:
        with self._lock:
            self.totals = self.totals._replace(replayed=self.totals.replayed + 1)

    # ---- prices

    def published_prices(
        self, store: Store, endpoint: str, ask: Callable[[], dict[str, tuple[float, float]]]
    ) -> dict[str, tuple[float, float]]:
        """What is known of the prices that the endpoint publishes; asked for again, beside the work, when it is old.

        ask: fetches them; what it raises means that there are none.
        """
        prices, at = ledger.kept_prices(store, endpoint)
        now = time.time()
        if now - at > PRICES_HOLD_S and now - self._prices_asked.get(endpoint, 0) > PRICES_RETRY_S:
            self._prices_asked[endpoint] = now
            threading.Thread(target=_keep_prices, args=(store, endpoint, ask), daemon=True).start()
        return prices


def _parent_of(shell: Any) -> dict[str, Any]:
    """The message that asked for the execution; none outside kernels."""
    return shell.get_parent() if hasattr(shell, "get_parent") else {}


def _cell_of(shell: Any | None) -> str:
    """The front end's id of the cell that is run, "" where it gives none."""
    return str(_parent_of(shell).get("metadata", {}).get("cellId") or "") if shell else ""


def _keep_prices(store: Store, endpoint: str, ask: Callable[[], Any]) -> None:
    try:
        if prices := ask():
            ledger.keep_prices(store, endpoint, prices)
    except Exception:  # noqa: BLE001  # whatever it is, the list price will do; nobody else would hear of it
        return


def store_path(settings: CometSettings) -> Path:
    if settings.store:
        return Path(os.path.expanduser(settings.store))  # which leaves a home that is not there as it is
    from platformdirs import user_data_path

    return user_data_path("comet_magic", appauthor=False) / "store.sqlite"


def shown_path(path: Path | str) -> str:
    """As short as it can be said here."""
    with contextlib.suppress(ValueError):
        return str(Path(path).resolve().relative_to(Path.cwd()))
    return _from_home(str(path))


def _from_home(path: str) -> str:
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path.startswith(home + os.sep) else path


def _is_dead(here: str, host: str | None, pid: int | None, asked: float) -> bool:
    """Whether the kernel that asked has ended; where that cannot be known, it has after a day."""
    if time.time() - asked > A_DAY_S or pid is None:
        return True
    if host != here or sys.platform == "win32":  # there os.kill would end the process
        return False
    try:
        os.kill(pid, 0)
        # One that has ended and was not waited for is still there.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except (OSError, IndexError):
        return False


def _host() -> str:
    """This machine, told from others; a store may be shared, and its maker's name not."""
    return sha256(socket.gethostname().encode()).hexdigest()[:16]


_current = Session()


def current() -> Session:
    """This process's session; a forked child has its own."""
    global _current
    if _current.process != os.getpid():
        _current = Session()
        _current.is_fork = True
    return _current


def reset() -> None:
    """Begin a session anew, as a restarted kernel would."""
    global _current
    _current.close()
    _current = Session()
