"""A program that runs beside the kernel and is spoken to line by line. It ends with the kernel, however that ends.

It is started without a shell, in a process group of its own, and with an environment that holds no secret of ours.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO
from weakref import WeakSet

from ..errors import NO_THREAD, NO_THREAD_HINT, ConfigError
from ..settings import environment_without_secrets, variables_named
from ..text import clean

# What a program needs to find itself and its files.
PASSED_ON: tuple[str, ...] = ("PATH", "HOME", "USER", "LANG", "TERM")
if os.name == "nt":
    PASSED_ON += ("APPDATA", "COMSPEC", "LOCALAPPDATA", "PATHEXT", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE")
LARGEST_LINE = 64 * 2**20  # bytes; a program that never ends its line is ended
LAST_LINES, LONGEST_LINE = 50, 1000  # of what it writes on stderr: how many are kept, and characters of each
POLITE_S = 2.0  # seconds that a program has to end by itself when its input ends, and as many when it is told to
CHUNK = 65_536


def environment_of(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: what it needs, and what the user gives it."""
    return {**variables_named(PASSED_ON), **own}


def found(command: str, path: str | None) -> str:
    """Return the file that a command names, found on PATH but never in the working folder. Raises: ConfigError."""
    if os.path.dirname(command):
        return str(Path(command).expanduser().absolute())
    folders = [folder for folder in (path or os.defpath).split(os.pathsep) if os.path.isabs(folder)]
    for folder in folders:
        if file := shutil.which(os.path.join(folder, command)):
            return file
    hint = 'name it with its folder, or install it; each word is an argument of its own: mcp("uvx", "mcp-server-time")'
    raise ConfigError(f"there is no program {command!r} on PATH", hint)


class ServerProcess:
    """A running program. Threads of its own read and write, so that it never waits for the kernel, nor that for it.

    on_line: gets each line of its output, on another thread.        on_end: is called once, when its output has ended.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: str, *,
        on_line: Callable[[bytes], None], on_end: Callable[[], None],
    ) -> None:  # fmt: skip
        """Start it. folder: that it works in. Raises: ConfigError when it cannot be started."""
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
                env=dict(environment), start_new_session=True,  # the kernel's interrupt is not for it
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )  # fmt: skip
        except (OSError, ValueError) as error:
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise ConfigError(f"{command[0]} cannot be started: {why}", "look at its path and its folder") from None
        self._owner = os.getpid()
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._errors: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line, self._on_end = on_line, on_end
        self._ending = threading.Lock()
        self._has_ended = False
        _guard.watch(self._process.pid)
        _running.add(self)
        try:
            self._threads = [
                _on_thread(self._read_output), _on_thread(self._read_errors), _on_thread(self._write_lines)
            ]  # fmt: skip
        except RuntimeError:
            self.end()
            raise ConfigError(f"a server was not started: {NO_THREAD}", NO_THREAD_HINT) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_ours(self) -> bool:
        """Whether this process started it; a fork of it did not, and its pipes are not for two."""
        return os.getpid() == self._owner

    @property
    def is_running(self) -> bool:
        return not self._has_ended and self._process.poll() is None

    @property
    def last_words(self) -> list[str]:
        """The last lines that it wrote on stderr."""
        return list(self._errors)

    @property
    def how_it_ended(self) -> str:
        """In words, as far as that is known: `exit code 1`, `SIGKILL`."""
        code = self._process.poll()
        if code is None:
            return "it closed its output"
        names = {one.value: one.name for one in signal.Signals}
        return names.get(-code, f"signal {-code}") if code < 0 else f"exit code {code}"

    def write(self, line: bytes) -> None:
        """Give it a line, whenever it reads."""
        self._lines.put(line)

    def wait_for_end(self, seconds: float) -> None:
        """Wait until it has ended and all of its last words are read, but no longer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._threads[1].join(seconds)

    def end(self) -> None:
        """End it and what it has started: its input ends, then it is told to, then it is killed. Twice is once."""
        end_all([self])

    # ---- what end_all does, step by step

    def _close_input(self) -> bool:
        """Return whether it is this call that ends it."""
        with self._ending:
            if self._has_ended or not self.is_ours:
                return False
            self._has_ended = True
        self._lines.put(None)
        return True

    def _signal(self, name: str) -> None:
        """Send a signal to its group, in which there may be others though it has ended itself."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, getattr(signal, name))
        elif self._process.poll() is None:
            self._process.kill()

    def _is_over(self) -> bool:
        return self._process.poll() is not None

    def _clear(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(POLITE_S)
        _guard.forget(self._process.pid)
        _running.discard(self)
        for thread in getattr(self, "_threads", ()):
            if thread is not threading.current_thread():
                thread.join(POLITE_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    # ---- its threads

    def _read_output(self) -> None:
        pipe, held = _file(self._process.stdout), bytearray()
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(pipe, CHUNK):
                held += chunk
                if b"\n" in chunk:
                    *lines, held = held.split(b"\n")
                    for line in lines:
                        self._on_line(bytes(line))
                if len(held) > LARGEST_LINE:
                    self._errors.append(f"(a line of more than {LARGEST_LINE // 2**20} MB)")
                    break
        self._on_end()
        self.end()  # it may go on without an output, where nobody would hear of it

    def _read_errors(self) -> None:
        pipe, held = _file(self._process.stderr), b""
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(pipe, CHUNK):
                *lines, held = (held + chunk).split(b"\n")
                self._errors.extend(map(_line, lines))
                held = held[-CHUNK:]
        if held.strip():
            self._errors.append(_line(held))

    def _write_lines(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while (line := self._lines.get()) is not None:
                pipe.write(line + b"\n")
                pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()


def end_all(processes: Sequence[ServerProcess]) -> None:
    """End programs, all at the same time."""
    ending = [process for process in processes if process._close_input()]
    for name in ("", "SIGTERM", "SIGKILL"):
        if name:
            for process in ending:
                process._signal(name)
        deadline = time.monotonic() + POLITE_S
        while time.monotonic() < deadline and not all(process._is_over() for process in ending):
            time.sleep(0.01)
        if name == "" and all(process._is_over() for process in ending):
            break
    for process in ending:
        process._signal("SIGKILL")  # what it had started, and left behind
        process._clear()


_running: WeakSet[ServerProcess] = WeakSet()


@atexit.register
def _end_with_the_process() -> None:
    end_all(list(_running))


def _on_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def _file(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return pipe.fileno()


def _line(line: bytes) -> str:
    return clean(line[:LONGEST_LINE].decode("utf-8", "replace").rstrip())


# Reads process groups, a line each, `-` before those that have ended. It ends the others when its parent is gone; a
# closed pipe does not tell that, for a fork of the parent may hold it open.
_GUARD = """
import os, select, signal, sys, time
groups, parent, held = set(), int(sys.argv[1]), b""
while True:
    if not select.select([0], [], [], 1)[0]:
        if os.getppid() == parent:
            continue
        break
    chunk = os.read(0, 4096)
    if not chunk:
        break
    *lines, held = (held + chunk).split(b"\\n")
    for line in map(int, lines):
        (groups.discard if line < 0 else groups.add)(abs(line))
for name in ("SIGTERM", "SIGKILL") if groups else ():
    time.sleep(2)
    for group in groups:
        try:
            os.killpg(group, getattr(signal, name))
        except OSError:
            pass
"""


class _Guard:
    """A process beside the kernel that ends what is left where the kernel is killed, and can end nothing itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def watch(self, group: int) -> None:
        with self._lock:
            if self._owner != os.getpid():  # it is another process's, which this is a fork of
                self._groups, self._process, self._owner = set(), None, os.getpid()
            self._groups.add(group)
            if self._process is None or self._process.poll() is not None:
                self._start()
                self._tell(*self._groups)
            else:
                self._tell(group)

    def forget(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            self._tell(-group)
            if not self._groups:
                self._end()

    def _tell(self, *groups: int) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write("".join(f"{group}\n" for group in groups).encode())
                self._process.stdin.flush()

    def _start(self) -> None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid())], stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
                    env=environment_without_secrets(),
                )  # fmt: skip

    def _end(self) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()
            self._process = None


_guard = _Guard()
