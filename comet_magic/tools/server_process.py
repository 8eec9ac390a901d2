"""A program that runs beside the kernel and is spoken to line by line. It ends with the kernel, however that ends.

It is started without a shell, in a process group of its own, and with an environment that has no secret of ours.
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
from queue import SimpleQueue
from typing import IO
from weakref import WeakSet

from ..environment import environment_without_secrets, variables_named
from ..errors import NO_THREAD, NO_THREAD_HINT, ConfigError
from ..redaction import hidden_beginning
from ..text import clean, expanded

# What a program needs to find itself and its files.
INHERITED: tuple[str, ...] = ("PATH", "HOME", "USER", "LANG", "TERM")
if os.name == "nt":
    INHERITED += ("APPDATA", "COMSPEC", "LOCALAPPDATA", "PATHEXT", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE")
LARGEST_LINE = 64 * 2**20  # bytes; a program that never ends its line is ended
LAST_LINES, LONGEST_LINE = 50, 5000  # of its standard error: lines that are kept, and characters of each
FINAL_S = 2.0  # seconds before its end; what it writes within them is about that
GRACE_S = 2.0  # seconds to wait after its input is closed, and again after SIGTERM
CHUNK = 65_536


def environment_of(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: what it needs, and what the user gives it."""
    return {**variables_named(INHERITED), **own}


def find_program(command: str, path: str | None) -> str:
    """Return the file that a command names, found on PATH but never in the working folder. Raises: ConfigError."""
    if os.path.dirname(command):
        return str(expanded(command).absolute())
    folders = [folder for folder in (path or os.defpath).split(os.pathsep) if os.path.isabs(folder)]
    for folder in folders:
        if file := shutil.which(os.path.join(folder, command)):
            return file
    hint = "uvx comes with uv: pip install uv" if command in ("uvx", "uv") else "install it, or give its full path"
    raise ConfigError(f"there is no program {command!r} on PATH", hint)


class ServerProcess:
    """A running program. Separate threads read and write its pipes, so that neither it nor the kernel waits."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: str, hide: Callable[[str], str]
    ) -> None:
        """Start it. folder: Its working folder. hide: takes secrets out of its standard error.

        Raises: ConfigError when it cannot be started.
        """
        self._owner = os.getpid()
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._errors: deque[tuple[float, str]] = deque(maxlen=LAST_LINES)
        self._readers: list[threading.Thread] = []
        self._ending = threading.Lock()
        self._is_ending = self._is_gone = False
        self._ended_at: float | None = None  # by time.monotonic
        self.is_closed = False  # by the user
        self._hide = hide
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
                env=dict(environment), start_new_session=True,  # the kernel's interrupt is not for it
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )  # fmt: skip
        except (OSError, ValueError) as error:
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise ConfigError(f"{command[0]} cannot be started: {why}", "look at its path") from None
        try:
            _running.add(self)
            _guard.watch(self._process.pid)
        except BaseException:  # an interrupt
            self.end()
            raise

    def listen(self, on_line: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """Begin to read and to write. Raises: ConfigError where there is no thread to be had.

        on_line: gets each line of its output, on another thread.        on_end: is called once, behind the last one.
        """
        try:
            self._readers = [
                _on_thread(lambda: self._read_output(on_line, on_end)), _on_thread(self._read_errors)
            ]  # fmt: skip
            _on_thread(self._write_lines)
        except BaseException as error:
            self.end()
            if isinstance(error, RuntimeError):
                raise ConfigError(f"a server was not started: {NO_THREAD}", NO_THREAD_HINT) from None
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_ours(self) -> bool:
        """Whether this process started it. A forked child must not use its pipes."""
        return os.getpid() == self._owner

    @property
    def is_running(self) -> bool:
        """Whether it can be spoken to; a launcher may have left that to another process."""
        return not self._is_ending and self._ended_at is None

    @property
    def pending(self) -> int:
        """Number of lines that it has not read yet."""
        return self._lines.qsize()

    @property
    def stderr_lines(self) -> list[str]:
        """The last lines of its standard error."""
        return [line for _, line in self._errors]

    @property
    def final_lines(self) -> list[str]:
        """What it wrote on its standard error right before its end, each line once; of a traceback, the exception."""
        ended = self._ended_at or time.monotonic()
        last = [line for at, line in self._errors if at > ended - FINAL_S]
        plain = [line for line in last if line.strip() and line[:1] not in " \t^"]
        return list(dict.fromkeys((plain or last)[-3:]))

    @property
    def exit_reason(self) -> str:
        """Why it has ended, in words: `exit code 1`, `SIGKILL`."""
        if self.is_closed:
            return "you closed it"
        code = self._process.poll()
        if code is None:
            return "it closed its output"
        names = {one.value: one.name for one in signal.Signals}
        return names.get(-code, f"signal {-code}") if code < 0 else f"exit code {code}"

    def write(self, line: bytes) -> None:
        """Give it a line, which it gets when it reads."""
        self._lines.put(line)

    def wait_for_end(self, seconds: float) -> None:
        """Wait until it has ended and its standard error is read, at most that long for each."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        for reader in self._readers:
            if reader is not threading.current_thread():
                reader.join(seconds)

    def end(self) -> None:
        """Close its input, then send SIGTERM, then SIGKILL. Once it is gone, a further call does nothing."""
        end_all([self])

    # ---- what end_all does, step by step

    def close_input(self) -> bool:
        """Close its input. Returns: whether there is something to end."""
        if self._is_gone or not self.is_ours:
            return False
        with self._ending:
            is_first, self._is_ending = not self._is_ending, True
        if is_first:
            self._lines.put(None)
            if not self._readers and self._process.stdin:  # nothing was begun that would take that line
                self._process.stdin.close()
        return True

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def send_signal(self, name: str) -> None:
        """Send a signal to its group, in which there may be others though it has ended itself."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, getattr(signal, name))
        elif self._process.poll() is None:
            self._process.kill()

    def forget(self) -> None:
        self.wait_for_end(GRACE_S)
        with self._ending:
            if self._is_gone:
                return
            self._is_gone = True
        _guard.forget(self._process.pid)
        _running.discard(self)
        if not self._readers:
            for pipe in (self._process.stdout, self._process.stderr):
                _file(pipe).close()

    # ---- its threads, each of which closes its own pipe

    def _read_output(self, on_line: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        held = bytearray()
        with _file(self._process.stdout) as pipe, contextlib.suppress(OSError, ValueError):
            while chunk := pipe.read1(CHUNK):  # type: ignore[attr-defined]  # it is a BufferedReader
                held += chunk
                if b"\n" in chunk:
                    *lines, held = held.split(b"\n")
                    for line in lines:
                        on_line(bytes(line))
                if len(held) > LARGEST_LINE:
                    self._note(f"(a line of more than {LARGEST_LINE // 2**20} MB)".encode())
                    break
        self._ended_at = time.monotonic()
        on_end()
        self.end()  # it may go on without an output, where nobody would hear of it

    def _read_errors(self) -> None:
        held = b""
        with _file(self._process.stderr) as pipe, contextlib.suppress(OSError, ValueError):
            while chunk := pipe.read1(CHUNK):  # type: ignore[attr-defined]  # it is a BufferedReader
                *lines, held = (held + chunk).split(b"\n")
                for line in lines:
                    self._note(line)
                if len(held) > CHUNK:
                    self._note(held)
                    held = b""
        if held.strip():
            self._note(held)

    def _note(self, line: bytes) -> None:
        text = clean(line.decode("utf-8", "replace").rstrip())
        if len(text) > LONGEST_LINE:  # else it is hidden when it is shown, for a secret may have several lines
            text = hidden_beginning(text, LONGEST_LINE, self._hide)
        self._errors.append((time.monotonic(), text))

    def _write_lines(self) -> None:
        pipe = _file(self._process.stdin)
        with contextlib.suppress(OSError, ValueError):
            while (line := self._lines.get()) is not None:
                pipe.write(line + b"\n")
                pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()


def end_all(processes: Sequence[ServerProcess]) -> None:
    """End programs, all at the same time. After an interrupt there is no more waiting for them."""
    ending = [process for process in processes if process.close_input()]
    try:
        if not _are_over(ending, GRACE_S):
            for process in ending:
                process.send_signal("SIGTERM")
            _are_over(ending, GRACE_S)
    finally:
        for process in ending:
            process.send_signal("SIGKILL")  # also what it had started, and left behind
        for process in ending:
            process.forget()


def _are_over(processes: Sequence[ServerProcess], seconds: float) -> bool:
    """Return whether all have ended by themselves within that time."""
    deadline = time.monotonic() + seconds
    while not (are_over := all(process.is_over() for process in processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return are_over


_running: WeakSet[ServerProcess] = WeakSet()


@atexit.register
def _end_with_the_process() -> None:
    end_all(list(_running))


def _on_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def _file(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# Reads process groups, a line each, `-` before those that have ended, and ends at 0. When its parent is gone, it ends
# the others; a closed pipe does not tell that, for a fork of the parent may hold it open.
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
        if not line:
            sys.exit()
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
    """A helper process that ends the servers when the kernel was killed. It runs while there are servers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def after_fork(self) -> None:
        """Forget what is the parent's, in a child of it."""
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.returncode = 0  # it is no child of this process
        self._lock, self._groups, self._process = threading.Lock(), set(), None

    def watch(self, group: int) -> None:
        with self._lock:
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
        self._tell(0)
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


_guard = _Guard()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_guard.after_fork)
