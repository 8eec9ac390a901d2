"""Run notebooks top to bottom, each in a real kernel on the embedded model; print every prompt with its reply.

python notebooks/run.py notebooks/quickstart.ipynb      executed copies, as .ipynb and .html, go to build/
python notebooks/run.py --keep notebooks/*.ipynb        outputs go into the notebooks themselves
python notebooks/run.py --beside notebooks/conversation.ipynb
                                     with the store beside it, conversation.sqlite; --keep makes that anew
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

BUILD = Path("build")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="write the outputs into the notebooks")
    parser.add_argument("--beside", action="store_true", help="use the store beside each notebook")
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args()
    # The demo costs nothing, also for those who have a key.
    os.environ.setdefault("COMET_MAGIC_ENDPOINT", "local")
    for path in options.notebooks:
        began = time.monotonic()
        choose_store(path, beside=options.beside, anew=options.keep)
        with server_for(path):
            notebook = executed(path)
        show(notebook)
        target = path if options.keep else BUILD / path.name
        target.parent.mkdir(exist_ok=True)
        nbformat.write(without_times(notebook), target)
        page = BUILD / f"{path.stem}.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text(HTMLExporter().from_notebook_node(notebook)[0], "utf-8")
        print(f"\n{path} ran in {time.monotonic() - began:.0f} s.\n  notebook  {target}\n  page      {page}")


def choose_store(path: Path, *, beside: bool, anew: bool) -> None:
    """A demo keeps nothing and replays nothing, unless it has a store of its own."""
    if not beside:
        os.environ.setdefault("COMET_MAGIC_KEEP", "False")
        return
    store = path.with_suffix(".sqlite").resolve()
    if anew:
        for file in store.parent.glob(f"{store.name}*"):
            file.unlink()
    os.environ["COMET_MAGIC_STORE"] = str(store)


@contextmanager
def server_for(path: Path) -> Iterator[None]:
    """Start the server that a notebook needs besides the model: a stand-in for what makes pictures, sound and film."""
    if path.stem != "media":
        yield
        return
    script = Path(__file__).parents[1] / "tests" / "media_server.py"
    server = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    settings = {"ENDPOINT": json.loads(server.stdout.readline()), "MEDIA_FOLDER": "build/media_made", "REPLAY": "auto"}
    former = dict(os.environ)
    shutil.rmtree(settings["MEDIA_FOLDER"], ignore_errors=True)
    os.environ.update({f"COMET_MAGIC_{name}": value for name, value in settings.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)
        server.communicate()


def executed(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    client.execute()
    return notebook


def without_times(notebook: Any) -> Any:
    """Without the metadata that differ at every run."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("language_info", None)
    return notebook


def show(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.lstrip().startswith(
            ("%%claude", "%claude", "%%comet", "%comet", "comet_magic.ask")
        ):
            print(
                f"\n\033[1m{textwrap.indent(cell.source, '> ')}\033[0m\n"
                if sys.stdout.isatty()
                else f"\n{textwrap.indent(cell.source, '> ')}\n"
            )
            for output in cell.outputs:
                print(textwrap.indent(as_text(output), "  "))


def as_text(output: Any) -> str:
    match output.output_type:
        case "error":
            return "\n".join(output.traceback)
        case "stream":
            return str(output.text)
    return str(output.data.get("text/plain", ""))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
