"""A reply that leaves the notebook: published as a page or as LaTeX, exported, printed, sent to another model."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hostile import FILES, HOSTILE, TEX

from comet_magic import conversations
from comet_magic.messages.conversation import Conversation, Turn
from comet_magic.messages.message import Message
from comet_magic.render.message import to_markdown, to_plain

SECRET = "COMETAPI_KEY=sk-test-SECRETSECRET-f3a9"
ALL = [*HOSTILE, *FILES, *TEX]


def reply(text: str) -> Message:
    return Message("assistant", ({"type": "text", "text": text},), model="m", stop_reason="end_turn")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with a hostile reply a cell, beside files that no page may have in it."""
    folder = tmp_path_factory.mktemp("exits")
    (folder / "data").mkdir()
    for name in (".env", "data/secret.csv", "id_rsa.txt"):
        (folder / name).write_text(SECRET)
    cells = []
    for text in ALL:
        data = {"text/markdown": to_markdown(reply(text)), "text/plain": to_plain(reply(text))}
        output = nbformat.v4.new_output("display_data", data=data)
        cells.append(nbformat.v4.new_code_cell("%%claude\nhi", outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "it.ipynb")
    return folder


def converted(notebook: Path, *how: str) -> str:
    command = [sys.executable, "-m", "nbconvert", "it.ipynb", *how]
    done = subprocess.run(command, cwd=notebook, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (notebook / f"it.{ {'latex': 'tex', 'markdown': 'md'}.get(how[1], 'html') }").read_text()


@pytest.mark.parametrize("template", ["lab", "classic", "basic"])
def test_a_page_has_no_file_in_it(notebook: Path, template: str) -> None:
    page = converted(notebook, "--to", "html", "--template", template, "--embed-images")
    embedded = [base64.b64decode(data) for data in re.findall(r"""src=["']data:[^"']*base64,([^"']+)""", page)]
    assert not [data for data in embedded if SECRET.encode() in data]
    assert SECRET not in page
    body = page[page.index("<body") if "<body" in page else 0 :]
    assert not re.search(r"<(img|iframe|svg|object|embed)[^>]*(onerror|onload|src=.?(http|x\b))", body)


def test_markdown_that_another_tool_converts_has_nothing_that_acts(notebook: Path) -> None:
    text = converted(notebook, "--to", "markdown")
    assert SECRET not in text


@pytest.mark.skipif(shutil.which("pandoc") is None, reason="nbconvert makes LaTeX with pandoc")
def test_latex_reads_and_writes_nothing(notebook: Path) -> None:
    text = converted(notebook, "--to", "latex")
    body = text[text.index(r"\begin{document}") :]
    assert SECRET not in text
    plain = re.sub(r"\\begin\{(Verbatim|verbatim|tcolorbox)\}.*?\\end\{\1\}", "", body, flags=re.S)
    found = re.findall(
        r"(?<!textbackslash)\\(?:input|include\w*|openin|write18|immediate|gdef|csname|catcode)\b", plain
    )
    assert [one for one in found if one != r"\includegraphics"] == []


@pytest.mark.parametrize("text", ALL)
def test_an_export_is_as_safe_as_the_output(text: str) -> None:
    turn = Turn.of("c", (Message.user(text), reply(text)))
    made = conversations.to_markdown(Conversation(text, (turn,)))
    assert "\x1b" not in made
    assert not re.search(
        r"<(?:img|svg|iframe|script|style|div)\b(?![^\n]*`)|\]\(\s*javascript|!\[[^\]]*\]\((?!data)", unfenced(made)
    )


def unfenced(text: str) -> str:
    """A text without its code, which every reader shows as it stands."""
    text = re.sub(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^\s*(?:> ?)*\2[`~]*\s*$", "", text, flags=re.S | re.M)
    return re.sub(r"^(?: {4}|\t).*$|(`+).+?(?<!`)\1(?!`)|\$[^$\n]*\$", "", text, flags=re.M)


@pytest.mark.parametrize("text", [*ALL, "a\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202eb\u200b"])
def test_a_terminal_gets_text_alone(text: str) -> None:
    printed = to_plain(reply(text))
    assert not [char for char in printed if char != "\n" and not char.isprintable() and char != "\ufffd"]


@pytest.mark.parametrize("text", ALL)
def test_another_model_gets_the_reply_as_a_turn_and_not_as_the_users_words(text: str) -> None:
    turn = Turn.of("c", (Message.user("q"), reply(text)))
    assert [(message.role, message.text) for message in turn.messages] == [("user", "q"), ("assistant", text)]
