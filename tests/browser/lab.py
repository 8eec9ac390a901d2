"""JupyterLab or Notebook 7 in headless Chromium, with nothing of the user's: what the browser tests and the pictures use.

Two things lose cells when they are left out. The execution indicator says "idle" before there is any kernel, so readiness is
asked of the session itself. And a prompt must be seen to leave "[ ]:" after Shift+Enter.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

from hatch_build import write_labextension

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
LAUNCH: dict[str, Any] = {
    "executable_path": CHROMIUM,
    "args": [
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ],
}
_NUMBERED = re.compile(r"^\[\d+\]:$")
_INTERRUPT = re.compile("^interrupt", re.I)  # a file may have the word in its name, and is a button as well
SECRET = "sk-test-SECRETSECRET-f3a9"
NOTHING: dict[str, dict[str, Any]] = {}
KERNELSPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
READY = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  const kernel = panel.sessionContext.session.kernel;
  await kernel.info;
  return kernel.connectionStatus;
}"""
HAS_KERNEL = """() => {
  const widget = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  return !!(widget && widget.sessionContext && widget.sessionContext.session && widget.sessionContext.session.kernel);
}"""


class JupyterServer:
    """A server of its own on loopback. app: "lab" or "notebook".

    python: of the environment that it is in, this one unless another is given.
    labextension: the folder of the front end's files, by default as a wheel has them; None: as if it was not installed.
    """

    def __init__(
        self, app: str = "lab", python: str = sys.executable, labextension: Path | None = Path("as in the wheel"),
        settings: dict[str, dict[str, Any]] = NOTHING, **environment: str,
    ) -> None:  # fmt: skip
        self.app = app
        self._python = python
        self.folder = Path(tempfile.mkdtemp(prefix="comet-lab-"))
        self.notebooks = self.folder / "notebooks"
        self.notebooks.mkdir()
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._prepare(labextension, settings)
        self._log = (self.folder / "server.log").open("w")
        self._process = subprocess.Popen(
            self._command(), env=self._environment(environment), stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True, cwd=self.notebooks,
        )  # fmt: skip
        self._wait()

    def _prepare(self, labextension: Path | None, settings: dict[str, dict[str, Any]]) -> None:
        """Write the settings of the user, by plugin, and make the front end's files known."""
        (self.folder / "home").mkdir()
        config = self.folder / "jupyter_config_dir" / "labconfig"
        config.mkdir(parents=True)
        # The first asks a question that would cover the page's corner.
        disabled = {"@jupyterlab/apputils-extension:announcements": True, "comet_magic": labextension is None}
        (config / "page_config.json").write_text(json.dumps({"disabledExtensions": disabled}))
        for plugin, values in settings.items():
            name, _, part = plugin.rpartition(":")
            file = self.folder / "jupyterlab_settings_dir" / name / f"{part}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        if labextension is not None:
            place = self.folder / "jupyter_path" / "labextensions" / "comet_magic"
            if labextension.is_dir():
                shutil.copytree(labextension, place)
            else:
                write_labextension(Path(__file__).parents[2], place)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        places = {
            name: str(self.folder / name.lower())
            for name in (
                *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME"),
                *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
            )
        }
        path = str(self.folder / "jupyter_path")
        return {**os.environ, **places, "JUPYTER_PATH": path, "JUPYTER_PLATFORM_DIRS": "1", **more}

    def _command(self) -> list[str]:
        return [
            *(
                self._python,
                "-m",
                {"lab": "jupyterlab"}.get(self.app, self.app),
                "--no-browser",
                "--allow-root",
                "--expose-app-in-browser",
            ),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.notebooks}"),
            "--LabApp.extension_manager=readonly",
            *(
                ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
                * (self.app == "lab")
            ),
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/status?token={self.token}", timeout=2):
                    return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "server.log").read_text()) from None
                time.sleep(0.05)

    def write(self, cells: list[str], name: str = "test.ipynb") -> Path:
        made = [nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": KERNELSPEC})
        nbformat.write(notebook, self.notebooks / name)
        return self.notebooks / name

    def url(self, name: str) -> str:
        path = "lab/tree" if self.app == "lab" else "notebooks"
        reset = "&reset" if self.app == "lab" else ""
        return f"http://127.0.0.1:{self.port}/{path}/{name}?token={self.token}{reset}"

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)  # it shuts its kernels down
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class OpenNotebook:
    """A notebook in a page: run cells, look at outputs."""

    def __init__(self, page: Page, server: JupyterServer, cells: list[str], name: str = "test.ipynb") -> None:
        self.page = page
        self.server = server
        self.path = server.write(cells, name)
        self.cells = page.locator(".jp-Notebook .jp-CodeCell")
        self.open(len(cells))

    def open(self, count: int) -> None:
        self.page.goto(self.server.url(self.path.name))
        expect(self.cells).to_have_count(count, timeout=60_000)
        self.page.wait_for_function(HAS_KERNEL, timeout=60_000)
        assert self.page.evaluate(READY) == "connected"

    def start(self, index: int) -> Locator:
        """Shift+Enter in a cell; its output area."""
        prompt = self.cells.nth(index).locator(".jp-InputPrompt")
        before = prompt.inner_text()
        for _ in range(3):
            self.cells.nth(index).locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
            try:
                expect(prompt).not_to_have_text(before, timeout=5_000)
                break
            except AssertionError:
                continue
        return self.output(index)

    def run(self, index: int) -> Locator:
        """Run a cell to its end; its output area."""
        output = self.start(index)
        self.wait(index)
        return output

    def wait(self, index: int) -> None:
        prompt = self.cells.nth(index).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(_NUMBERED, timeout=60_000)

    def output(self, index: int) -> Locator:
        return self.cells.nth(index).locator(".jp-OutputArea")

    def interrupt(self) -> None:
        self.page.get_by_role("button", name=_INTERRUPT).first.click()

    def save(self) -> str:
        """Save; the file's text."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.save() }")
        return self.path.read_text("utf-8")

    def reopen_without_kernel(self) -> None:
        """As a reader would see it later: the file's outputs, no kernel behind them."""
        notebook = nbformat.read(self.path, as_version=4)
        notebook.metadata["kernelspec"] = {"name": "gone", "display_name": "Gone", "language": "python"}
        self.page.goto("about:blank")
        path = self.path.with_name(f"reopened-{self.path.name}")
        nbformat.write(notebook, path)
        self.page.goto(self.server.url(path.name))
        expect(self.cells).to_have_count(len(notebook.cells), timeout=60_000)
        dialog = self.page.locator(".jp-Dialog button", has_text="No Kernel")
        if dialog.count() or self._appears(dialog):
            dialog.first.click()

    @staticmethod
    def _appears(what: Locator) -> bool:
        try:
            expect(what.first).to_be_visible(timeout=3_000)
        except AssertionError:
            return False
        return True
