"""A model's text, made safe to show: one pass that leaves every Markdown parser only one way to read it.

A reply is untrusted, and JupyterLab runs the HTML of a fresh Markdown output. Escaping is easy; the trap is text that
*we* take for code and so leave alone, while the parser behind the screen (marked in JupyterLab, mistune in nbconvert,
markdown-it in VS Code) takes it for prose, and runs it. So whatever is accepted here as code, mathematics or a link is
written in the one form on which all of them agree (a fence is closed where its list item ends, a code span stands on
one line), and whatever is not accepted loses its meaning: the character that would start it becomes an entity.
Sources: CommonMark 0.31; JupyterLab's latex.ts, which takes mathematics out of the text before marked sees it.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from copy import copy

from ..named_tuple import NamedTuple
from ..text import clean, lazy_pattern
from .inline import HTML_LIKE, QUOTES, Inline, bars, spelled_code, unquoted


def wrapped(text: str, width: int | None = None) -> str:
    """Return a text with its prose folded at `width` columns, or the terminal's; code and tables keep their lines."""
    if len(text) <= 40:
        return text
    columns = min(width or shutil.get_terminal_size().columns, 100)
    out, in_fence = [], ""
    for line in text.split("\n"):
        fence = re.match(r"\s*(`{3,}|~{3,})", line)
        if fence and (not in_fence or fence[1].startswith(in_fence)):
            in_fence = "" if in_fence else fence[1]
        lead = re.match(r"\s*(?:(?:[-+*>]|\d+[.)])\s+)*", line)
        if in_fence or fence or len(line) <= columns or "|" in line or line.startswith("    "):
            out.append(line)
        else:
            hanging = " " * len(lead[0]) if lead else ""
            folder = textwrap.TextWrapper(
                columns, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
            )
            out += folder.wrap(line) or [""]
    return "\n".join(out)


def safe_markdown(text: str, *, remote_images: bool = False, is_growing: bool = False) -> str:
    """Return `text` with code and mathematics as they were, and with everything that could act made inert.

    remote_images: show images from the network; otherwise they become links.
    is_growing: more is to come, so the beginning of a closing fence at the end is held back.
    """
    return _safe(clean(text), _Scanner(remote_images, is_growing))


def _safe(text: str, scanner: _Scanner) -> str:
    """Return a clean text made safe. scanner: one that has read none of it yet, or some of its lines."""
    result = scanner.scan(text)
    code = "\n".join(scanner.code + scanner.inline.code)
    if HTML_LIKE.search(code) and _BLOCK_TEX.search(code):
        # nbconvert looks for display mathematics before it looks for code, and would cut the code open.
        return _Scanner(scanner.inline.remote_images, scanner.is_growing, spelled=True).scan(text)
    return result


class GrowingMarkdown:
    """Makes a growing text safe. A line that others follow is read once, and not at each paint."""

    def __init__(self, *, remote_images: bool = False) -> None:
        self._remote_images = remote_images
        self._state = self._fresh_state()

    def _fresh_state(self) -> tuple[str, _Scanner]:
        """Return the state before any line is read: no text, and a new scanner."""
        return "", _Scanner(self._remote_images, is_growing=True)

    def safe(self, text: str) -> str:
        """Return what `safe_markdown` returns for the text as it is now, which need not go on from the last one."""
        text = clean(text)
        known, scanner = self._state
        self._state = self._fresh_state()  # an interrupt may leave that scanner in the middle of a line
        if not text.startswith(known):
            known, scanner = self._fresh_state()
        if dollars_of(text):  # how the first of them is read depends on whether there will be another
            return _safe(text, _Scanner(self._remote_images, is_growing=True))
        end = text.rfind("\n") + 1
        scanner.read(text[len(known) : end].split("\n")[:-1])
        self._state = text[:end], scanner
        return _safe(text, scanner.copy())


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, code) of each fenced block, in order; one that is not closed goes on to the end."""
    scanner = _Scanner(remote_images=False, is_growing=False)
    scanner.scan(clean(text))
    return [(language, "\n".join(lines)) for language, lines in scanner.blocks]


class _Fence(NamedTuple):
    mark: str  # "```" or longer, or tildes
    indent: int  # columns before the mark, within `depth` block quotes
    base: int  # the column at which its code ends, whatever follows
    depth: int
    prefix: str  # the quote marks that its lines begin with

    def closing(self) -> str:
        return f"{self.prefix}{' ' * self.indent}{self.mark}"


_MARKER = lazy_pattern(r"(?:[-+*]|\d{1,9}[.)])(?: {1,4}(?! )|$)")
_FENCE = lazy_pattern(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_DOLLAR_ENTITY = lazy_pattern(r"&(?:#0*36|#[xX]0*24|dollar)(?![0-9A-Za-z])")
_NOTE = lazy_pattern(r"\[!([A-Za-z]{2,20})\][+-]?[ \t]*")  # GitHub's alerts, which other parsers show as text
_HEADING = lazy_pattern(r"#{1,6}(?: |$)")
_BLOCK_TEX = lazy_pattern(r"\$\$|\\\\[(\[]|\\begin\{")


class _Scanner:
    """Reads the lines of one text, all at once or as they come, and writes them in a safe form.

    Set `dollars` to the count in the whole text before the first line is read.
    spelled: write code as HTML in entities, which no parser can take for anything else.
    """

    def __init__(self, remote_images: bool, is_growing: bool, spelled: bool = False) -> None:
        self.lines_read = 0
        self.inline = Inline(remote_images, spelled)
        self.is_growing = is_growing
        self.spelled = spelled
        self.code: list[str] = []
        self.blocks: list[tuple[str, list[str]]] = []  # (language, lines) of the fenced ones
        self.out: list[str] = []
        self.fence: _Fence | None = None
        self.just_closed: _Fence | None = None
        self.lists: list[int] = []  # columns where the open list items' text begins
        self.run: list[str] = []  # the lines of the paragraph being read
        self.indented: list[str] = []  # the lines of the indented code being read
        self.depth = 0  # block quotes
        self.dollars = 0  # in all of the text
        self.seen_list = False
        self.after_table = False  # a table takes in whatever follows it at once

    def copy(self) -> _Scanner:
        """Return a scanner that has read the same lines, and goes on by itself."""
        made = copy(self)
        made.inline = copy(self.inline)
        made.inline.code = [*self.inline.code]
        for name in ("code", "out", "lists", "run", "indented"):
            setattr(made, name, [*getattr(self, name)])
        made.blocks = [(language, [*lines]) for language, lines in self.blocks]
        return made

    def scan(self, text: str) -> str:
        """Read the lines of a text that have not been read yet. Returns: all of them, made safe."""
        self.dollars = dollars_of(text)
        self.inline.lone_dollar = self.dollars == 1
        *lines, last = text.split("\n")[self.lines_read :]
        self.read(lines)
        self.read([last], is_end=True)
        self.flush()
        if self.fence:
            self.end_fence(self.fence)
        return "\n".join(self.out)

    def read(self, lines: list[str], *, is_end: bool = False) -> None:
        """Read whole lines. is_end: no other follows."""
        for line in lines:
            if not self.fence or self.read_code(self.fence, line, is_end):
                self.read_line(line)
        self.lines_read += len(lines)

    # ---- fenced code

    def read_code(self, fence: _Fence, line: str, last: bool) -> bool:
        """Take `line` as code or as the fence's end; True when it belongs to neither."""
        quotes = re.match(rf"(?: {{0,3}}> ?){{{fence.depth}}}", line)
        body = line[quotes.end() :] if quotes else line
        indent = _indent(body)
        if not quotes or (body.strip() and indent < fence.base):
            # The item or the quote ends here, and the code with it; not every parser would say so.
            self.end_fence(fence)
            return True
        bare = body.strip()
        if bare and set(bare) <= {"`", "~"} and bare.startswith(fence.mark):
            self.end_fence(fence)
        elif not (last and self.is_growing and bare and bare in fence.mark):
            self.code.append(body)
            self.blocks[-1][1].append(body[min(indent, fence.indent) :])
            self.out.append(fence.prefix + spelled_code(body[min(indent, fence.indent) :]) if self.spelled else line)
        return False

    def end_fence(self, fence: _Fence) -> None:
        self.out.append(f"{fence.prefix}</code></pre>" if self.spelled else fence.closing())
        self.fence = None
        self.just_closed = fence

    def start_fence(self, prefix: str, lead: str, mark: str, info: str) -> None:
        """Write the opening of a fence. lead: what stands before its mark: spaces, or a list item's marker."""
        # Whether a list is still open is where parsers differ; without any, less indented code is still code.
        base = len(lead) if self.seen_list or len(lead) > 3 else 0
        if len(lead) > 3 or lead.strip() or self.dollars or self.after_table:
            self.empty_line_before(prefix)
        language = re.sub(r"[^\w+#.:,/ -]", "", info)  # without braces: Pandoc and MyST do what stands between them
        self.out.append(f"{prefix}{lead}<pre><code>" if self.spelled else f"{prefix}{lead}{mark}{language}")
        self.blocks.append(((info.split() or [""])[0], []))
        self.fence = _Fence(mark, len(lead), base, self.depth, prefix)

    def empty_line_before(self, prefix: str) -> None:
        if self.out and self.out[-1].strip(" >"):
            self.out.append(prefix.rstrip())

    # ---- everything else

    def read_line(self, line: str) -> None:
        quotes = QUOTES.match(line)
        if self.just_closed and line.strip(" \t>"):
            # An empty line keeps JupyterLab from pairing a $ in the code with one behind it.
            self.out.append(self.just_closed.prefix.rstrip())
        self.just_closed = None
        prefix = quotes[0] if quotes else ""
        depth = prefix.count(">")
        if depth != self.depth:
            self.flush()
            self.lists = []
            self.depth = depth
        body = line[len(prefix) :]
        indent = _indent(body)
        body = " " * indent + body.lstrip(" \t")
        if not body.strip():
            if self.indented:
                self.indented.append("")
            else:
                self.flush()
                self.out.append(line)
            return
        if self.is_indented_code(indent):
            self.indented.append(body)
            return
        self.flush_indented()
        if prefix and not self.run and (note := _NOTE.match(body)):
            self.out += [f"{prefix}**{note[1].capitalize()}**", prefix.rstrip()]
            body = body[note.end() :]
            if not body:
                return
        self.read_block(prefix, body, indent)

    def is_indented_code(self, indent: int) -> bool:
        after_blank = not self.run and (not self.out or not self.out[-1].strip(" >"))
        beyond = indent - (self.lists[-1] if self.lists else 0)
        return bool(self.indented and beyond >= 4) or (after_blank and beyond >= 4)

    def read_block(self, prefix: str, body: str, indent: int) -> None:
        lead, rest = body[:indent], body[indent:]
        self.close_lists(indent, bool(_MARKER.match(rest)))
        while marker := _MARKER.match(rest):
            if indent - (self.lists[-1] if self.lists else 0) > 3:
                break
            self.flush()
            lead += marker[0]
            rest = rest[marker.end() :]
            indent = len(lead)
            self.lists.append(indent if rest else len(lead.rstrip()) + 1)
            self.seen_list = True
        fence = _FENCE.match(rest)
        while fence and self.lists and self.lists[-1] > indent:
            self.lists.pop()  # a fence is never a lazy line
        if fence and self.may_fence(indent):
            self.flush()
            self.start_fence(prefix, lead, fence[1] or fence[3], fence[2] or fence[4] or "")
        elif fence:
            self.run.append(prefix + lead + re.sub("[`~]", lambda m: f"&#{ord(m[0])};", rest))
        elif _HEADING.match(rest):
            self.flush()
            self.run.append(prefix + lead + rest)
            self.flush()
        else:
            self.run.append(prefix + lead + rest)

    def close_lists(self, indent: int, is_item: bool) -> None:
        """Leave the list items that a line at this column cannot belong to."""
        lazy = self.run and not is_item  # a paragraph goes on, however its lines are indented
        while self.lists and self.lists[-1] > indent and not lazy:
            self.lists.pop()

    def may_fence(self, indent: int) -> bool:
        return indent - (self.lists[-1] if self.lists else 0) <= 3

    # ---- what was read goes out

    def flush(self) -> None:
        self.flush_indented()
        run, self.run = self.run, []
        if not run:
            return
        delimiter = next((n for n, line in enumerate(run) if _is_delimiter_row(unquoted(line))), len(run) + 1)
        self.after_table = delimiter < len(run)
        text, table = run[: max(delimiter - 1, 0)], run[max(delimiter - 1, 0) :]
        if text:
            self.out += self.inline.text("\n".join(text)).split("\n")
        columns = bars(unquoted(table[1])) if len(table) > 1 else 0
        self.out += [self.inline.row(line, columns) for line in table]

    def flush_indented(self) -> None:
        code, self.indented = self.indented, []
        if not code:
            return
        prefix = "> " * self.depth
        blank = 0
        while code and not code[-1]:
            code.pop()
            blank += 1
        self.code += code
        if self.lists or HTML_LIKE.search("\n".join(code)):
            code = self.fenced(code)
        self.out += [prefix + line if line else prefix.rstrip() for line in code] + [prefix.rstrip()] * blank

    def fenced(self, code: list[str]) -> list[str]:
        """Fence indented code: whether four columns are code depends on the parser's idea of lists."""
        offset = self.lists[-1] if self.lists else 0
        longest = max((len(run) for line in code for run in re.findall("`+", line)), default=0)
        mark = " " * offset + "`" * max(3, longest + 1)
        if self.spelled:
            return ["<pre><code>", *(spelled_code(line[offset + 4 :]) for line in code), "</code></pre>", ""]
        return [mark, *(" " * offset + line[offset + 4 :] for line in code), mark, ""]


def dollars_of(text: str) -> int:
    """Return how many dollars there are, also as entities."""
    return text.count("$") + len(_DOLLAR_ENTITY.findall(text))


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))


def _is_delimiter_row(line: str) -> bool:
    """Return whether this line makes a table of its neighbours, for the most generous of the parsers."""
    return set(line) <= set(" \t|:+-") and bool({"|", ":"} & set(line))
