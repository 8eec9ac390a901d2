"""What belongs to this process: its store, the cells that it ran, the latest reply, and what it has cost so far."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CometError, TransportError
from ..messages.message import Message
from ..messages.models import OfferedModel
from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..settings import CometSettings
from ..store import media, offered, requests, rows
from ..store.connection import MEMORY, Connection
from ..store.database import Store
from ..text import dollars, expanded, user_folder, whole_text
from . import cells
from .cells import CellKeys

if TYPE_CHECKING:
    from .several import Comparison

MODELS_HOLD_S = 86_400.0  # seconds until what the endpoint offers is looked up again
MODELS_RETRY_S = 3600.0
LIST_RETRY_S = 60.0  # the same, where the endpoint did not answer in time
A_DAY_S = 86_400.0
MOST_ANCESTORS = 4


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


class Session:
    """One process from its start to its end, or what a test takes for one."""

    def __init__(self, *, is_fork: bool = False, parent_usd: float = 0.0) -> None:
        """parent_usd: what the parent of a fork has spent, in case there is no store in which that can be read."""
        self.id = self.payer = os.urandom(16).hex()
        self.parent_usd = parent_usd
        self.cells = CellKeys(self.id[:8], is_fork=is_fork)
        self.process = os.getpid()
        self.totals = Totals()
        self.allowed: list[tuple[str, object]] = []  # in which conversation which tool may be called without asking
        self.latest: Message | None = None
        self.latest_run: Any = None  # of one prompt over many rows
        self.first_bill: tuple[float, float, float] | None = None  # when the gateway was asked, its sum, and ours then
        self.choices: dict[str, int] = {}  # by the key of a cell, which of several replies was chosen there
        self.comparison: Comparison | None = None  # the latest replies of several models to one question
        self.refused_cache: set[str] = set()  # endpoints that take no cache_control
        self.wants_thinking: dict[tuple[str, str], bool] = {}  # endpoints and models, and whether they want it back
        self.followed: dict[
            tuple[Store, str], object
        ] = {}  # the notebook as which each conversation was brought in line
        self.unannounced: dict[
            tuple[Store, str], int
        ] = {}  # turns of deleted cells that were left out, and not said to be
        self.saved_cell_ids: set[str] = set()  # ids of cells that have been in a saved notebook
        self.without_values: set[str] = set()  # digests of turns that were asked while values were not shared
        self._store: Store | None = None
        self._stores: dict[tuple[object, ...], Store] = {}
        self._opened_as: tuple[object, ...] = ()
        self._last_problem = self._news = ""
        self.shrunk_to_mb = 0.0  # what the store held after its oldest had gone
        self._lock = threading.RLock()
        self._promises: dict[str, float] = {}
        self._models: dict[tuple[Store, str], tuple[dict[str, OfferedModel], float]] = {}
        self._models_fetched: dict[tuple[Store, str], float] = {}
        self._list_problems: dict[str, str] = {}
        self.began = time.strftime("%Y%m%d-%H%M%S")

    # ---- the store

    def store(self, settings: CometSettings) -> Store:
        """Return the store that the settings name now; opened on first use."""
        path: Path | str = store_path(settings) if settings.keep else MEMORY
        opened_as = (str(path), settings.replay == "only")
        with self._lock:
            return self._opened(path, opened_as)

    def _opened(self, path: Path | str, opened_as: tuple[str, bool]) -> Store:
        if self._store is None or opened_as != self._opened_as:
            self._opened_as, self._last_problem, self._news = opened_as, "", ""
            store = self._stores.get(opened_as)
            if store is None or store.problem:
                # Others stay open: a cell may be in the middle of its reply while a panel changes the setting.
                store = self._stores[opened_as] = Store(path, read_only=opened_as[1])
                self.payer = requests.begin_session(store, self.id, _host(), os.getpid(), _ancestors())
            self._store = store
            self.sweep()
        elif news := self._store.look_again(self._carry_over):
            self._last_problem, self._news = self._store.problem, news
            self.payer = requests.begin_session(self._store, self.id, _host(), os.getpid(), _ancestors())
        return self._store

    def _carry_over(self, memory: Connection, file: Connection) -> None:
        """Bring what was asked while the store was in memory into the file."""
        requests.carry_over(memory, file, self.id)
        rows.carry_rows(memory, file)
        media.carry_jobs(memory, file)

    def sweep(self) -> None:
        """Find the replies that ended kernels left in flight."""
        if self._store is not None:
            requests.sweep(self._store, lambda *since: _is_dead(_host(), *since))
            media.sweep_jobs(self._store, lambda *since: _is_dead(_host(), *since))

    @property
    def problem(self) -> str:
        """What is wrong with the store, "" if nothing is known to be."""
        return self._store.problem if self._store else ""

    def news_of_store(self) -> str:
        """Return what is to be said of the store under a reply: all of it once, then in short."""
        news, self._news = self._news, ""
        if news:
            return news
        problem_said, self._last_problem = self._last_problem, self.problem
        if self._last_problem and self._last_problem == problem_said:
            return "nothing is being stored: %claude_history says why"
        return self._last_problem

    def close(self) -> None:
        while self._stores:
            self._stores.popitem()[1].close()
        self._store = None

    def conversation_name(self, settings: CometSettings) -> str:
        """Return the conversation of this notebook: what is set, else its path, else a name of this process's own."""
        own = f"kernel-{self.began}-{self.id[:4]}"
        return whole_text(settings.conversation).strip() or cells.notebook_path(settings) or own

    # ---- usage

    def promise(self, request: str, usd: float) -> None:
        """Note what a request in flight may cost; 0: it has ended."""
        with self._lock:
            self._promises.pop(request, None)
            if usd:
                self._promises[request] = usd

    def promised_usd(self) -> float:
        """Return what the requests of this process that are in flight may cost, in whatever store they are."""
        with self._lock:
            return sum(self._promises.values())

    def count(self, usage: Usage, usd: float | None) -> None:
        with self._lock:
            self.totals = self.totals.plus(usage, usd)

    def count_replay(self) -> None:
        with self._lock:
            self.totals = self.totals._replace(replayed=self.totals.replayed + 1)

    # ---- what the endpoint offers

    def published_models(
        self, store: Store, endpoint: str, fetch: Callable[[], dict[str, OfferedModel]]
    ) -> dict[str, OfferedModel]:
        """Return what the endpoint publishes of its models, as far as it is known; what is old is fetched meanwhile.

        fetch: asks the endpoint; what it raises means that it publishes nothing.
        """
        models = self.known_models(store, endpoint)
        if self._is_due(store, endpoint):
            from ..background import in_background  # not at the top: it is for once a day

            in_background(lambda: self._keep_models(store, endpoint, fetch))
        return models

    def fetched_models(
        self, store: Store, endpoint: str, fetch: Callable[[], dict[str, OfferedModel]]
    ) -> dict[str, OfferedModel]:
        """Return what the endpoint offers: it is asked now, unless it was within a day."""
        if self._is_due(store, endpoint):
            self._list_problems.pop(endpoint, None)
            try:
                self._keep_models(store, endpoint, fetch)
            except TransportError as error:
                self._models_fetched[store, endpoint] = time.time() - MODELS_RETRY_S + LIST_RETRY_S
                why = f"the endpoint's list of models did not come ({error.what}), so the model was asked as messages"
                self._list_problems[endpoint] = f"{why}; CometSettings.dialects names another API"
            except CometError:  # it has none, which says enough
                pass
        return self.known_models(store, endpoint)

    def list_problem(self, endpoint: str) -> str:
        """Return why the endpoint's list did not come when it was last asked for, in words; "" for no problem."""
        return self._list_problems.get(endpoint, "")

    def known_models(self, store: Store, endpoint: str) -> dict[str, OfferedModel]:
        """Return what the endpoint said of its models, as far as it was asked before."""
        found = self._models.get((store, endpoint)) or offered.find_offered(store, endpoint)
        self._models[store, endpoint] = found
        return found[0]

    def _is_due(self, store: Store, endpoint: str) -> bool:
        """Return whether the endpoint is to be asked now, which is noted."""
        self.known_models(store, endpoint)
        at, now = self._models[store, endpoint][1], time.time()
        is_due = now - at > MODELS_HOLD_S and now - self._models_fetched.get((store, endpoint), 0) > MODELS_RETRY_S
        if is_due:
            self._models_fetched[store, endpoint] = now
        return is_due

    def _keep_models(self, store: Store, endpoint: str, fetch: Callable[[], dict[str, OfferedModel]]) -> None:
        if models := fetch():
            self.keep_models(store, endpoint, models)

    def keep_models(self, store: Store, endpoint: str, models: dict[str, OfferedModel]) -> None:
        offered.keep_offered(store, endpoint, models.values())
        self._models[store, endpoint] = (models, time.time())


def store_path(settings: CometSettings) -> Path:
    if settings.store:
        return expanded(settings.store)
    return usual_store_path()


def usual_store_path() -> Path:
    """Return the file where no setting names another one."""
    return user_folder("data") / "store.sqlite"


def _is_dead(here: str, host: str | None, pid: int | None, since: float) -> bool:
    """Return whether the kernel that asked has ended; where that cannot be known, it has after a day."""
    if time.time() - since > A_DAY_S or pid is None:
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


def _ancestors() -> tuple[tuple[int, float], ...]:
    """Return the processes that started this one, the nearest first: of a pool's worker, the pool's server too.

    Each with when it began, in seconds since 1970; where the system does not say it, a day ago.
    """
    pid = os.getppid() if hasattr(os, "getppid") else 0
    chain: list[tuple[int, float]] = []
    try:
        up_since = time.time() - float(Path("/proc/uptime").read_text().split()[0])
        while len(chain) < MOST_ANCESTORS and pid > 1:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            chain.append((pid, up_since + int(fields[19]) / os.sysconf("SC_CLK_TCK")))
            pid = int(fields[1])
    except (OSError, ValueError, IndexError):
        if pid > 1 and not chain:
            chain.append((pid, time.time() - A_DAY_S))
    return tuple(chain)


def _host() -> str:
    """Return a digest of this machine's name: a store may be shared, the name not."""
    return sha256(socket.gethostname().encode()).hexdigest()[:16]


_current = Session()


def current() -> Session:
    """Return this process's session; a forked child has its own."""
    global _current
    if _current.process != os.getpid():
        _current = Session(is_fork=True, parent_usd=_current.parent_usd + _current.totals.usd)
    return _current


def reset() -> None:
    """Begin a session anew, as a restarted kernel would."""
    global _current
    _current.close()
    _current = Session()
