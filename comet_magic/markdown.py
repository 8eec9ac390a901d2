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
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

# Harmless with nothing inside the angle brackets but the name, and never the start of a block that Markdown skips.
HARMLESS_TAGS = frozenset(
    ["b", "br", "del", "em", "i", "ins", "kbd", "mark", "s", "small", "strong", "sub", "sup", "u"]
)
SAFE_SCHEMES = frozenset(("http", "https", "mailto", "tel"))

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def whole_text(text: str) -> str:
    """Surrogate pairs joined, lone halves replaced: JSON may carry them, and UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean(text: str) -> str:
    """`text` as any screen may get it: no control or direction characters, no lone surrogates, newlines as LF."""
    return _CONTROL.sub("\ufffd", whole_text(text).replace("\r\n", "\n").replace("\r", "\n"))


def escaped(text: str) -> str:
    """`text` as one line of literal Markdown: for names and messages that come from elsewhere."""
    line = " ".join(clean(text).split())
    return re.sub(r"[&<>\\`*_\[\]$~|#!]", lambda m: f"&#{ord(m[0])};", line)


def wrapped(text: str, width: int | None = None) -> str:
    """Prose folded at `width` columns (the terminal's, when None) for plain text; code and tables keep their lines."""
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


def safe_markdown(text: str, *, remote_images: bool = False, growing: bool = False) -> str:
    """`text` with code and mathematics as they were, and everything that could act made inert.

    remote_images: show images from the network; otherwise they become links.
    growing: more is to come, so the beginning of a closing fence at the end is held back.
    """
    text = clean(text)
    scanner = _Scanner(remote_images, growing)
    result = scanner.scan(text)
    code = "\n".join(scanner.code + scanner.inline.code)
    if _HTML_LIKE.search(code) and _BLOCK_TEX.search(code):
        # nbconvert looks for display mathematics before it looks for code, and would cut the code open.
        return _Scanner(remote_images, growing, spelled=True).scan(text)
    return result


class _Fence(NamedTuple):
    mark: str  # "```" or longer, or tildes
    indent: int  # columns before the mark, within `depth` block quotes
    base: int  # the column at which its code ends, whatever follows
    depth: int
    prefix: str  # the quote marks that its lines begin with

    def closing(self) -> str:
        return f"{self.prefix}{' ' * self.indent}{self.mark}"


_QUOTES = re.compile(r"(?: {0,3}> ?)+")
_MARKER = re.compile(r"(?:[-+*]|\d{1,9}[.)])(?: {1,4}(?! )|$)")
_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_HEADING = re.compile(r"#{1,6}(?: |$)")
_HTML_LIKE = re.compile(r"<[A-Za-z/!?]")
_BLOCK_TEX = re.compile(r"\$\$|\\\\[(\[]|\\begin\{")


class _Scanner:
    """Lines in, lines out. Lives for one text.

    spelled: write code as HTML in entities, which no parser can take for anything else.
    """

    def __init__(self, remote_images: bool, growing: bool, spelled: bool = False) -> None:
        self.inline = _Inline(remote_images, spelled)
        self.growing = growing
        self.spelled = spelled
        self.code: list[str] = []
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

    def scan(self, text: str) -> str:
        lines = text.split("\n")
        self.dollars = text.count("$")
        self.inline.lone_dollar = self.dollars == 1
        for number, line in enumerate(lines):
            last = number == len(lines) - 1
            if self.fence and not self.read_code(self.fence, line, last):
                continue
            self.read_line(line)
        self.flush()
        if self.fence:
            self.end_fence(self.fence)
        return "\n".join(self.out)

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
        elif not (last and self.growing and bare and bare in fence.mark):
            self.code.append(body)
            self.out.append(fence.prefix + _spelled(body[min(indent, fence.indent) :]) if self.spelled else line)
        return False

    def end_fence(self, fence: _Fence) -> None:
        self.out.append(f"{fence.prefix}</code></pre>" if self.spelled else fence.closing())
        self.fence = None
        self.just_closed = fence

    def start_fence(self, prefix: str, lead: str, mark: str, info: str) -> None:
        """lead: what stands before the mark on its line: spaces, or a list item's marker."""
        # Whether a list is still open is where parsers differ; without any, less indented code is still code.
        base = len(lead) if self.seen_list or len(lead) > 3 else 0
        if len(lead) > 3 or lead.strip() or self.dollars or self.after_table:
            self.empty_line_before(prefix)
        language = re.sub(r"[^\w+#.{}=:,/ -]", "", info)
        self.out.append(f"{prefix}{lead}<pre><code>" if self.spelled else f"{prefix}{lead}{mark}{language}")
        self.fence = _Fence(mark, len(lead), base, self.depth, prefix)

    def empty_line_before(self, prefix: str) -> None:
        if self.out and self.out[-1].strip(" >"):
            self.out.append(prefix.rstrip())

    # ---- everything else

    def read_line(self, line: str) -> None:
        quotes = _QUOTES.match(line)
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
        delimiter = next((n for n, line in enumerate(run) if _is_delimiter_row(_unquoted(line))), len(run) + 1)
        self.after_table = delimiter < len(run)
        text, table = run[: max(delimiter - 1, 0)], run[max(delimiter - 1, 0) :]
        if text:
            self.out += self.inline.text("\n".join(text)).split("\n")
        self.out += [self.inline.row(line) for line in table]

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
        if self.lists or _HTML_LIKE.search("\n".join(code)):
            code = self.fenced(code)
        self.out += [prefix + line if line else prefix.rstrip() for line in code] + [prefix.rstrip()] * blank

    def fenced(self, code: list[str]) -> list[str]:
        """Indented code as fenced code: whether four columns are code depends on the parser's idea of lists."""
        offset = self.lists[-1] if self.lists else 0
        longest = max((len(run) for line in code for run in re.findall("`+", line)), default=0)
        mark = " " * offset + "`" * max(3, longest + 1)
        if self.spelled:
            return ["<pre><code>", *(_spelled(line[offset + 4 :]) for line in code), "</code></pre>", ""]
        return [mark, *(" " * offset + line[offset + 4 :] for line in code), mark, ""]


def _spelled(code: str) -> str:
    """A line of code as HTML that means the same wherever Markdown is on, too."""
    return re.sub(r"[^\w \t]", lambda m: f"&#{ord(m[0])};", code) or "&#8203;"


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))


def _is_delimiter_row(line: str) -> bool:
    """Whether this line makes a table of its neighbours, for the most generous of the parsers."""
    return set(line) <= set(" \t|:+-") and bool({"|", ":"} & set(line))


def _unquoted(line: str) -> str:
    quotes = _QUOTES.match(line)
    return line[quotes.end() :] if quotes else line


# A character of text that can start something: escapes and TeX, code, mathematics, HTML, images and links.
_SPECIAL = re.compile(r"\\|`+|\$\$?|<|(?<!!)!+(?=[\[<])|\](?=[(:])|\[|https?://|www\.", re.I)
_URL = r"(?:[^\s()<>`\\\"'\[\]{}|^]|\([^\s()<>`\\\"'\[\]{}|^]*\))*"
_TITLE = r"(?:[ ]+(?:\"([^\"`<>\\\[\]\n]*)\"|'([^'\"`<>\\\[\]\n]*)'))?"
_TARGET = re.compile(rf"\][(][ ]?(?:<([^<>\n`\\\[\]()]*)>|({_URL})){_TITLE}[ ]?[)]")
_DEFINITION = re.compile(rf"\]:[ \t]*(?=\S)(?:<({_URL})>|({_URL})){_TITLE}[ \t]*(?=\n|$)")
_AUTOLINK = re.compile(rf"<((?:https?://|mailto:){_URL}|[\w.+-]+@[\w.-]+)>")
_TAG = re.compile(r"<(/?)([a-z]+) ?/?>", re.I)
_IMAGE = re.compile(rf"!\[([^\[\]`<>\\$\n]*)\][(]({_URL})[)]")
_ENVIRONMENT = re.compile(r"\\begin\{([a-z]*\*?)\}.*?\\end\{\1\}", re.S)
_WORDS = re.compile(r"[A-Za-z]{2,}[ ,.;:]+[A-Za-z]{2,}|\d[\d.,]*\s*(?:[-–—]|[A-Za-z]{2,})?\s*$")


class _Inline:
    """Text between block boundaries: code spans, mathematics, links, HTML."""

    def __init__(self, remote_images: bool, spelled: bool = False) -> None:
        self.remote_images = remote_images
        self.spelled = spelled
        self.code: list[str] = []
        self.lone_dollar = False
        self.in_row = False

    def row(self, line: str) -> str:
        """A table's row: a cell ends at a bar, whatever stands around it."""
        cells = re.split(r"(?<!\\)\|", line)
        self.in_row = len(cells) > 1
        row = "|".join(map(self.text, cells))
        self.in_row = False
        return row

    def text(self, text: str) -> str:
        return "".join(self.pieces(text)) if _SPECIAL.search(text) else text

    def pieces(self, text: str) -> Iterator[str]:
        tags = _paired_tags(text)
        at = 0
        while special := _SPECIAL.search(text, at):
            yield text[at : special.start()]
            at = special.start()
            match text[at]:
                case "`":
                    piece, at = self.code_span(text, at, len(special[0]))
                case "\\":
                    piece, at = self.backslash(text, at)
                case "$":
                    piece, at = self.dollar(text, at, special[0])
                case "<":
                    piece, at = self.angle(text, at, tags)
                case "!":
                    piece, at = self.image(text, at, len(special[0]))
                case "[":
                    # Closed on a later line, it could swallow the beginning of a block between.
                    end = text.find("\n", at)
                    piece = "[" if text.rfind("]", at, end if end >= 0 else len(text)) > 0 else "&#91;"
                    at += 1
                case "]":
                    piece, at = _link_target(text, at)
                case _:
                    piece, at = _bare_url(text, at)
            yield piece
        yield text[at:]

    def code_span(self, text: str, at: int, length: int) -> tuple[str, int]:
        """The code span that opens at `at`, on one line; or its backticks, disarmed, when nothing closes it."""
        start = at + length
        closing = re.compile(rf"(?<!`)`{{{length}}}(?!`)").search(text, start)
        if not closing:
            return "&#96;" * length, start
        first, *more = text[at : closing.end()].split("\n")
        span = " ".join([first.rstrip(), *(_unquoted(line).strip() for line in more)])
        self.code.append(span)
        if self.spelled:
            span = f"<code>{_spelled(span[length:-length].strip())}</code>"
        return span, closing.end()

    def backslash(self, text: str, at: int) -> tuple[str, int]:
        pair = text[at : at + 2]
        if pair in (r"\(", r"\["):
            end = text.find(r"\)" if pair == r"\(" else r"\]", at + 2)
            tex = text[at + 2 : end] if end > 0 else ""
            if _is_tex(tex):
                return (f"${_tex(tex).strip()}$" if pair == r"\(" else f"$${_tex(tex)}$$"), end + 2
        if text.startswith(r"\begin{", at) and text.find(r"\end{", at) > 0:
            environment = _ENVIRONMENT.match(text, at)
            if environment and _is_tex(environment[0]):
                return _tex(environment[0]), environment.end()
        if pair == r"\$":
            return self.literal_dollar(), at + 2
        if pair in ("\\\\", r"\`", r"\<", r"\[", r"\]"):
            return f"&#{ord(pair[1])};", at + 2
        if text.startswith(r"\begin", at):
            return "&#92;", at + 1
        return (pair, at + 2) if len(pair) == 2 and pair[1] in "(){}*_#+-.!|~>" else ("\\", at + 1)

    def dollar(self, text: str, at: int, mark: str) -> tuple[str, int]:
        start = at + len(mark)
        if mark == "$$":
            end = text.find("$$", start)
            if end > 0 and _is_tex(text[start:end]):
                return f"$${_tex(text[start:end])}$$", end + 2
            return self.literal_dollar() * 2, start
        end = _inline_math_end(text, at)
        if end:
            return f"${_tex(text[start:end])}$", end + 1
        return self.literal_dollar(), start

    def literal_dollar(self) -> str:
        # JupyterLab pairs dollars once in the source and once more in the page, where a backslash is long gone;
        # only one in an element of its own is left alone.
        return "$" if self.lone_dollar else "<span>&#36;</span>"

    def angle(self, text: str, at: int, tags: frozenset[int]) -> tuple[str, int]:
        if at in tags and (tag := _TAG.match(text, at)):
            # A tag alone on its line would begin a block in which Markdown is off.
            line = text[text.rfind("\n", 0, at) + 1 :].split("\n", 1)[0]
            alone = not self.in_row and not _TAG.sub("", line).strip(" >-+*.)0123456789")
            return ("&#8203;" if alone else "") + tag[0].lower(), tag.end()
        if link := _AUTOLINK.match(text, at):
            scheme = "" if ":" in link[1] else "mailto:"
            return f"[{escaped(link[1])}]({scheme}{_url(link[1])})", link.end()
        return ("&lt;" if _HTML_LIKE.match(text, at) else "<"), at + 1

    def image(self, text: str, at: int, bangs: int) -> tuple[str, int]:
        before = "&#33;" * (bangs - 1)
        at += bangs - 1
        image = _IMAGE.match(text, at)
        if text[at + 1] == "<":
            return f"{before}&#33;", at + 1
        if not image:
            return before, at + 1
        alt, url = image[1], image[2]
        local = re.fullmatch(r"(?:\./)?\w[\w./%-]*", url) and not url.startswith("//")
        if local or (self.remote_images and re.match(r"https?://", url, re.I)):
            return f"{before}![{alt}]({_url(url)})", image.end()
        return f"{before}[{f'image: {alt}' if alt.strip() else 'image'}", at + len(alt) + 2


def _inline_math_end(text: str, at: int) -> int:
    """Where the `$` at `at` is closed as mathematics; 0 when it is money, a shell variable, or alone."""
    if at and (text[at - 1].isalnum()):
        return 0
    for closing in re.compile(r"(?<!\\)\$|\n").finditer(text, at + 1):
        end = closing.start()
        tex = text[at + 1 : end]
        if closing[0] == "\n" or not tex or tex[0].isspace():
            return 0
        after = text[end + 1 : end + 2]
        is_ordinal = re.compile(r"(?:th|st|nd|rd|s)\b").match(text, end + 1) and re.fullmatch(r"[A-Za-z](_\w)?", tex)
        if tex[-1].isspace() or (after.isalnum() and not is_ordinal) or after == "$":
            return 0
        is_number = re.fullmatch(r"[\d.,]*\d", tex)
        if tex[0].isdigit() and not is_number and not re.search(r"[\\^_=+<>{}]", tex) and _WORDS.search(tex):
            return 0
        return end if _is_tex(tex) else 0
    return 0


def _is_tex(tex: str) -> bool:
    """Whether every renderer will read it as one formula: whole braces, no code, no empty line."""
    plain = re.sub(r"\\.", "", tex, flags=re.S)
    depth = 0
    for brace in re.findall("[{}]", plain):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return bool(tex.strip()) and depth == 0 and not re.search(r"`|\n\s*\n|\$|\][(:]", plain)


def _tex(tex: str) -> str:
    if any(_QUOTES.match(line) for line in tex.split("\n")[1:]):
        tex = " ".join(
            _unquoted(line).strip() for line in tex.split("\n")
        )  # JupyterLab would typeset the quote's marks
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", tex)


def _paired_tags(text: str) -> frozenset[int]:
    """Where the harmless tags stand that are closed within the text: an open one would reach beyond it."""
    found, open_tags = set(), []
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if name not in HARMLESS_TAGS:
            continue
        if name == "br":
            found.add(tag.start())
        elif not tag[1]:
            open_tags.append((name, tag.start()))
        elif open_tags and open_tags[-1][0] == name:
            found |= {open_tags.pop()[1], tag.start()}
    return frozenset(found)


def _link_target(text: str, at: int) -> tuple[str, int]:
    """The part of a link behind its text; its opening character is disarmed unless the target is harmless."""
    if text[at + 1] == "(":
        target = _TARGET.match(text, at)
        if target and _is_safe(target[1] or target[2] or ""):
            return f"]({_url_and_title(target)})", target.end()
        return "]&#40;", at + 2
    target = _DEFINITION.match(text, at)
    label = text[text.rfind("\n", 0, at) + 1 : at].strip()
    if target and re.fullmatch(r"\[[\w .:-]+", label) and _is_safe(target[1] or target[2]):
        return f"]: {_url_and_title(target)}", target.end()
    return "]&#58;", at + 2


def _url_and_title(target: re.Match[str]) -> str:
    """A link's target, in the one way of writing it that needs no brackets."""
    url, title = _url(target[1] or target[2] or ""), target[3] or target[4]
    return f'{url} "{title.replace("$", "&#36;")}"' if title else url


def _bare_url(text: str, at: int) -> tuple[str, int]:
    """An address that becomes a link by itself, up to where every parser ends it."""
    found = re.compile(r"[^\s<>`|\[\]()\\!]+").match(text, at)
    end = found.end() if found else at + 4
    # A parser that goes on would swallow the backtick of a code span.
    gap = " " if re.compile(r"\S*`").match(text, end) else ""
    return _url(text[at:end]) + gap, end


def _url(url: str) -> str:
    return url.replace("$", "%24").replace(" ", "%20")  # JupyterLab would look for mathematics between dollars


def _is_safe(url: str) -> bool:
    scheme = re.match(r"[^/?#]*?:", "".join(unescape(url).split()))
    return not scheme or scheme[0][:-1].lower() in SAFE_SCHEMES
