"""How `make docs` builds the manual. What can be read from the code is written from it: see generate.py."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pygments.lexers.python import PythonLexer
from pygments.lexers.special import TextLexer
from pygments.token import Text

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generate import write_reference  # noqa: E402

from comet_magic import __version__  # noqa: E402

project = "comet_magic"
version = release = __version__
author = "the authors of comet_magic"
extensions = ["myst_nb"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"comet_magic {__version__}"
html_static_path: list[str] = []
exclude_patterns = ["_build"]
nitpicky = True
# The tests run the notebooks (tests/model/test_notebooks.py) and each block (tests/test_docs.py); here they are shown.
nb_execution_mode = "off"
# The panel is shown by its picture: a page has no kernel.
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]


class CellLexer(PythonLexer):
    """Colours cells: a prompt, and a line of a magic, are no Python."""

    def get_tokens_unprocessed(self, text: str, *args: Any) -> Iterator[tuple[int, Any, str]]:
        if text.lstrip().startswith("%"):
            yield 0, Text, text
        else:
            yield from super().get_tokens_unprocessed(text, *args)


def setup(app: Any) -> None:
    for name in ("python", "ipython", "ipython3"):
        app.add_lexer(name, CellLexer)
    app.add_lexer("ipythontb", TextLexer)  # our errors are sentences, no tracebacks


write_reference(HERE / "reference" / "generated")
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    dirs_exist_ok=True,
    ignore=shutil.ignore_patterns("*.py", "*.sqlite*"),
)
