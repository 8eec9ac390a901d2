"""MCP servers in a real kernel: an interrupt in a call, and what a restart leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kernels import Kernel
from processes import is_there, wait_until

SCRIPT = str(Path(__file__).parents[1] / "mcp_server.py")


@pytest.mark.parametrize("now", [False, True])
@pytest.mark.parametrize("words", [(), ("stubborn",)])
def test_a_restart_leaves_no_process(now: bool, words: tuple[str, ...]) -> None:
    kernel = Kernel()
    try:
        arguments = ", ".join(map(repr, [sys.executable, SCRIPT, *words]))
        ran = kernel.run(f"import comet_magic\nshop = comet_magic.mcp({arguments})\nleft = shop[0](item='leaves')")
        assert ran.error == []
        pids = [int(pid) for pid in kernel.run("print(shop._server.connection.pid, left)").printed.split()]
        assert all(map(is_there, pids))
        ran = kernel.run("print('wait' + 'ing')\nshop[0](item='silent')", interrupt_when="waiting")
        assert "KeyboardInterrupt" in ran.error[-1]
        assert kernel.run("print(shop[0](item='lamp'))").printed == "12 of lamp\n"
        kernel.manager.restart_kernel(now=now)
        wait_until(lambda: not any(map(is_there, pids)))
    finally:
        kernel.close()
