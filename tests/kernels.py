"""A real kernel, over the messages that a front end sends and sees."""

from __future__ import annotations

import json
import os
import tempfile
import time
from typing import Any

from jupyter_client.manager import KernelManager


class Kernel:
    """A kernel and what came of each cell."""

    def __init__(self, **environment: str) -> None:
        self._sockets = tempfile.TemporaryDirectory(prefix="comet-kernel-")
        self.manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{self._sockets.name}/ipc")
        self.manager.start_kernel(extra_arguments=["--log-level=ERROR"], env={**os.environ, **environment})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=30)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self._sockets.cleanup()

    def send(self, code: str, cell: str | None = None, *, deleted: tuple[str, ...] = (), stdin: bool = False) -> str:
        """Ask the kernel to run a cell, as a notebook's front end does. Returns: the message's id.

        cell: its id, where the front end names its cells.        deleted: those that it says were deleted.
        stdin: whether the user can be asked.
        """
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": stdin}
        metadata = {"cellId": cell, "deletedCells": list(deleted)} if cell else {}
        message = self.client.session.msg("execute_request", {**content, "stop_on_error": True}, metadata=metadata)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def subshell(self) -> str:
        """Create a subshell. Returns: its id; "" where the kernel has none, as before ipykernel 7."""
        control, session = self.client.control_channel, self.client.session
        control.send(session.msg("kernel_info_request", {}))
        if "kernel subshells" not in control.get_msg(timeout=10)["content"].get("supported_features", []):
            return ""
        control.send(session.msg("create_subshell_request", {}))
        return str(control.get_msg(timeout=10)["content"]["subshell_id"])

    def run(self, code: str, interrupt_when: str | None = None, cell: str | None = None) -> Ran:
        """Run a cell; interrupt it once an output has `interrupt_when` in it."""
        return self.until_idle(self.send(code, cell), interrupt_when)

    def until_idle(self, asked: str, interrupt_when: str | None = None) -> Ran:
        """What came of the execution that was asked for by that message."""
        ran = Ran()
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != asked:
                continue
            ran.messages.append(message)
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                ran.ended = time.monotonic()
                ran.reply = self._answer_to(asked)
                return ran
            if interrupt_when is not None and interrupt_when in json.dumps(content, ensure_ascii=False):
                interrupt_when = None
                ran.interrupted = time.monotonic()
                self.manager.interrupt_kernel()

    def _answer_to(self, asked: str) -> dict[str, Any]:
        """The reply. Between an error's and its idle, a kernel turns away what arrives: wait for both."""
        while (message := self.client.get_shell_msg(timeout=10))["parent_header"].get("msg_id") != asked:
            pass
        return dict(message["content"])


class Ran:
    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.reply: dict[str, Any] = {}
        self.interrupted = self.ended = 0.0

    def bundles(self) -> list[dict[str, str]]:
        return [m["content"]["data"] for m in self.messages if m["msg_type"] in ("display_data", "update_display_data")]

    @property
    def result(self) -> str:
        """What the cell's last expression shows, or what it printed."""
        shown = [m["content"]["data"]["text/plain"] for m in self.messages if m["msg_type"] == "execute_result"]
        return shown[-1] if shown else self.printed

    @property
    def printed(self) -> str:
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    @property
    def plain(self) -> str:
        return self.bundles()[-1]["text/plain"]

    @property
    def error(self) -> list[str]:
        return next((m["content"]["traceback"] for m in self.messages if m["msg_type"] == "error"), [])
