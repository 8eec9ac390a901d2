"""Replies in widgets, as JupyterLab and Voilà show them: whole, and once."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab import KERNELSPEC, SECRET, OpenNotebook
from playwright.sync_api import Locator, Page, expect
from wire_server import LAST_CHUNK, SSE_HEAD, Script, WireServer, block, chunk, delta, start, stop

PARTS = [f"part {number} of four. " for number in range(1, 5)]
WHOLE = re.compile(r"part 1 of four\. part 2 of four\. part 3 of four\. part 4 of four\.")
ACCOUNT = re.compile(r"m · 11 in · 5 out")
BUTTON = """import ipywidgets as W
out, button = W.Output(), W.Button(description='ask')
def go(_):
    with out:
        get_ipython().run_cell_magic('claude', '--alone', 'hi')
button.on_click(go)
display(button, out)"""
WITH = """inner = W.Output()
display(inner)
with inner:
    get_ipython().run_cell_magic('claude', '--alone', 'hi')"""
INTERACT = """@W.interact_manual(q=['one', 'two'])
def again(q):
    get_ipython().run_cell_magic('claude', '--alone', q)"""


def slow(received: Any) -> Script:
    pieces = [part for text in PARTS for part in (0.2, chunk(delta(text)))]
    return [SSE_HEAD, chunk(start()), chunk(block()), *pieces, chunk(stop()), LAST_CHUNK]


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(slow) as server:
        yield server


def expect_whole(output: Locator) -> None:
    expect(output).to_contain_text(ACCOUNT, timeout=20_000)
    expect(output).to_contain_text(WHOLE)
    assert output.inner_text().count("part 1 of four.") == 1


def test_replies_in_output_widgets(opened: Any, server: WireServer) -> None:
    load = f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}"
    notebook: OpenNotebook = opened(load, BUTTON, WITH, INTERACT)
    notebook.run(0)
    clicked = notebook.run(1).first
    clicked.get_by_role("button", name="ask").click()
    expect_whole(clicked)
    expect_whole(notebook.run(2).first)
    again = notebook.run(3).first
    again.get_by_role("button").first.click()
    expect_whole(again)
    again.get_by_role("button").first.click()  # clears what was there, and shows another one
    expect(again).to_contain_text("session ≈ $0.00043", timeout=20_000)
    expect_whole(again)
    assert len(server.received) == 4


@pytest.fixture
def voila(server: WireServer, tmp_path: Path) -> Iterator[str]:
    """The address of a notebook's page, served by Voilà."""
    cells = ["%load_ext comet_magic", "%%claude --alone\nhi", BUTTON]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": KERNELSPEC}
    )
    nbformat.write(notebook, tmp_path / "page.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "COMETAPI_KEY": SECRET, "COMET_MAGIC_ENDPOINT": server.url}
    command = [sys.executable, "-m", "voila", "page.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    with (tmp_path / "voila.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/static/", timeout=1).close()
                    break
                except urllib.error.HTTPError:
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait()


def test_a_page_of_voila(page: Page, voila: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(voila)
    body = page.locator("body")
    page.get_by_role("button", name="ask").wait_for()
    expect(body).to_contain_text(ACCOUNT)
    assert body.inner_text().count("part 4 of four.") == 1
    page.get_by_role("button", name="ask").click()
    expect(body).to_contain_text(re.compile("part 4 of four.*part 4 of four", re.DOTALL), timeout=20_000)
    expect_twice = re.compile("5 out.*5 out", re.DOTALL)
    expect(body).to_contain_text(expect_twice)
    assert body.inner_text().count("part 1 of four.") == 2
