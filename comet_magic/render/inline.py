"""Text between block boundaries, made safe: code spans, mathematics, links, HTML. See `markdown` for the idea.

Whatever is not accepted loses the character that would start it: an entity means the same to every parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..text import clean, escaped, lazy_pattern
from .emphasis import with_emphasis

# Harmless with nothing inside the angle brackets but the name, and never the start of a block that Markdown skips.
HARMLESS_TAGS = frozenset(
    [
        "b",
        "br",
        "del",
        "em",
        "i",
        "ins",
        "kbd",
        "mark",
        "s",
        "strong",
        "sub",
        "sup",
        "u",
    ]  # not small: it marks our lines
)
SAFE_SCHEMES = frozenset(("http", "https", "mailto", "tel"))
QUOTES = lazy_pattern(r"(?: {0,3}> ?)+")
HTML_LIKE = lazy_pattern(r"<[A-Za-z/!?]")


def unquoted(line: str) -> str:
    quotes = QUOTES.match(line)
    return line[quotes.end() :] if quotes else line


def spelled_code(code: str) -> str:
    """Return a line of code as HTML that means the same wherever Markdown is on, too."""
    return re.sub(r"[^\w \t]", lambda m: f"&#{ord(m[0])};", code) or "&#8203;"


# A character of text that can start something: escapes and TeX, code, mathematics, HTML, images and links.
# A brace or three colons begin what Pandoc, Quarto, MyST and Jekyll do: include a file, tell a variable, pass TeX on.
_SPECIAL = lazy_pattern(
    r"\\|`+|\$\$?|<|(?<!!)!+(?=[\[<])|\](?=[(:])|\[|https?://|www\.|\{(?=\{?[<%]|=|[\w:.+-]*\}`)|:(?=::)|&(?=[#A-Za-z])",
    re.I,
)
_URL = r"(?:[^\s()<>`\\\"'\[\]{}|^]|\([^\s()<>`\\\"'\[\]{}|^]*\))*"
_TITLE = r"(?:[ ]+(?:\"([^\"`<>\\\[\]\n]*)\"|'([^'\"`<>\\\[\]\n]*)'))?"
_TARGET = lazy_pattern(rf"\][(][ ]?(?:<([^<>\n`\\\[\]()]*)>|({_URL})){_TITLE}[ ]?[)]")
_DEFINITION = lazy_pattern(rf"\]:[ \t]*(?=\S)(?:<({_URL})>|({_URL})){_TITLE}[ \t]*(?=\n|$)")
_AUTOLINK = lazy_pattern(rf"<((?:https?://|mailto:){_URL}|[\w.+-]+@[\w.-]+)>")
_TAG = lazy_pattern(r"<(/?)([a-z]+) ?/?>", re.I)
_IMAGE = lazy_pattern(rf"!\[([^\[\]`<>\\$\n]*)\][(]({_URL})[)]")
_ENVIRONMENT = lazy_pattern(r"\\begin\{([a-z]*\*?)\}.*?\\end\{\1\}", re.S)
_MATHEMATICAL = frozenset(
    """equation align alignat aligned alignedat gather gathered multline multlined flalign eqnarray split math
    displaymath array subarray subequations matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix cases
    rcases dcases drcases numcases CD prooftree dmath""".split()
)
# What defines, loads, reads, writes, or says it in other characters: it would change the formulas of the page, reach
# files in a LaTeX export, or style what stands around it. Sources: The TeXbook; MathJax's list of its extensions.
_ACTS = lazy_pattern(
    r"\\(?i:[a-z@_:]*(?:input|include|import)[a-z@_:]*)|\\(?:[egx]?def|let|futurelet|global|long|outer|protected|(?:re|provide)?new(?!line|page)\*?\w*|renew\w*"
    r"|(?:New|Renew|Provide|Declare)\w*|(?:open|close)(?:in|out)|read(?:line)?"
    r"|write|immediate|special|\w*catcode|\w*csname|directlua|latelua|luaexec|expandafter|noexpand|unexpanded|scantokens"
    r"|every\w+|lowercase|uppercase|loop|repeat|output|shipout|batchmode|scrollmode|nonstopmode|errmessage|message"
    r"|typeout|font|char(?:def)?|mathchardef|\w+defs?|define\w*|use\w+|Expl\w*|file_\w+|unicode|symbol|afterassignment|aftergroup|makeatletter|usepackage|require\w*"
    r"|documentclass|Require\w*|PassOptions\w*|At(?:Begin|End)\w*|lst\w*|verbatim\w*|pdf\w+|XeTeX\w*|url|href|cssId"
    r"|class|style|bbox|data|html\w*|mmlToken|begingroup|endgroup|toks|jobname|meaning|string|detokenize"
    r")(?![A-Za-z])|\^\^"
)
_WORDS = lazy_pattern(r"[A-Za-z]{2,}[ ,.;:]+[A-Za-z]{2,}|\d[\d.,]*\s*(?:[-–—]|[A-Za-z]{2,})?\s*$")


class Inline:
    """Text between block boundaries: code spans, mathematics, links, HTML."""

    def __init__(self, remote_images: bool, spelled: bool = False) -> None:
        self.remote_images = remote_images
        self.spelled = spelled
        self.code: list[str] = []
        self.lone_dollar = False
        self.in_row = False

    def row(self, line: str, columns: int) -> str:
        """Return a table's row: a cell ends at a bar, whatever stands around it.

        columns: how many bars divide the table's cells; where there are more, those in code are meant as code.
        """
        body = unquoted(line)
        quotes = line[: len(line) - len(body)]
        body, spans = _without_bars_in_code(body, columns)
        cells = _BAR.split(body)
        self.in_row = len(cells) > 1
        row = "|".join(map(self.text, cells))
        self.in_row = False
        return quotes + re.sub("\0(\\d+)\0", lambda place: spans[int(place[1])], row)

    def text(self, text: str) -> str:
        text = with_emphasis(text, _inline_math_end)
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
                case "&":
                    piece, at = self.entity(text, at)
                case "{" | ":":
                    piece, at = f"&#{ord(text[at])};", at + 1
                case "]":
                    piece, at = _link_target(text, at)
                case _:
                    piece, at = _bare_url(text, at)
                    # Where this is no table after all, the address would go on over the bar, and over what opens code.
                    piece += " " if at == len(text) and self.in_row else ""
            yield piece
        yield text[at:]

    def code_span(self, text: str, at: int, length: int) -> tuple[str, int]:
        """Return the code span that opens at `at`, on one line; or its backticks, disarmed, when nothing closes it."""
        start = at + length
        closing = re.compile(rf"(?<!`)`{{{length}}}(?!`)").search(text, start)
        if not closing:
            return "&#96;" * length, start
        first, *more = text[at : closing.end()].split("\n")
        span = " ".join([first.rstrip(), *(unquoted(line).strip() for line in more)])
        self.code.append(span)
        if self.spelled:
            span = f"<code>{spelled_code(span[length:-length].strip())}</code>"
        return span, closing.end()

    def backslash(self, text: str, at: int) -> tuple[str, int]:
        pair = text[at : at + 2]
        if pair in (r"\(", r"\["):
            end = text.find(r"\)" if pair == r"\(" else r"\]", at + 2)
            tex = text[at + 2 : end] if end > 0 else ""
            if _is_tex(tex):
                if _acts(tex):
                    return _as_code(text[at : end + 2]), end + 2
                return (f"${_tex(tex).strip()}$" if pair == r"\(" else f"$${_tex(tex)}$$"), end + 2
        if text.startswith(r"\begin{", at) and text.find(r"\end{", at) > 0:
            environment = _ENVIRONMENT.match(text, at)
            if environment and _is_tex(environment[0]):
                if _acts(environment[0]):
                    return _as_code(environment[0]), environment.end()
                return _tex(environment[0]), environment.end()
        if pair == r"\$":
            return self.literal_dollar(), at + 2
        if pair == "\\\\":
            return _literal_backslash(text, at + 2), at + 2
        if pair in (r"\`", r"\<", r"\[", r"\]"):
            return f"&#{ord(pair[1])};", at + 2
        if pair[1:].isalpha() or pair[1:] == "@":
            return _literal_backslash(text, at + 1), at + 1  # Pandoc would take it for TeX
        return (pair, at + 2) if len(pair) == 2 and pair[1] in "(){}*_#+-.!|~>" else ("\\", at + 1)

    def dollar(self, text: str, at: int, mark: str) -> tuple[str, int]:
        start = at + len(mark)
        if mark == "$$":
            end = text.find("$$", start)
            if end > 0 and _is_tex(text[start:end]):
                if _acts(text[start:end]):
                    return _as_code(text[at : end + 2]), end + 2
                return f"$${_tex(text[start:end])}$$", end + 2
            return self.literal_dollar() * 2, start
        end = _inline_math_end(text, at)
        if end and _acts(text[start:end]):
            return _as_code(text[at : end + 1]), end + 1
        if end:
            return f"${_tex(text[start:end])}$", end + 1
        return self.literal_dollar(), start

    def literal_dollar(self) -> str:
        # JupyterLab pairs dollars once in the source and once more in the page, where a backslash is long gone;
        # only one in an element of its own is left alone.
        return "$" if self.lone_dollar else _DOLLAR

    def entity(self, text: str, at: int) -> tuple[str, int]:
        """Return an entity that a reply wrote; one that stands for a sign with a meaning is that sign, disarmed."""
        from html import unescape  # not at the top: few replies have any

        match = _ENTITY.match(text, at)
        char = unescape(match[0]) if match else ""
        if not match or char == match[0]:
            return "&", at + 1
        if char == "$":
            return _DOLLAR, match.end()
        if char == "\\":
            return _BACKSLASH, match.end()
        return (match[0] if clean(char) == char else clean(char)), match.end()

    def angle(self, text: str, at: int, tags: dict[int, bool]) -> tuple[str, int]:
        if at in tags and (tag := _TAG.match(text, at)):
            # A tag alone on its line would begin a block in which Markdown is off.
            return ("&#8203;" if tags[at] and not self.in_row else "") + tag[0].lower(), tag.end()
        if link := _AUTOLINK.match(text, at):
            scheme = "" if ":" in link[1] else "mailto:"
            return f"[{escaped(link[1])}]({scheme}{_url(link[1])})", link.end()
        return ("&lt;" if HTML_LIKE.match(text, at) else "<"), at + 1

    def image(self, text: str, at: int, bangs: int) -> tuple[str, int]:
        before = "&#33;" * (bangs - 1)
        at += bangs - 1
        image = _IMAGE.match(text, at)
        if text[at + 1] == "<":
            return f"{before}&#33;", at + 1
        if not image:
            return before, at + 1
        alt, url = image[1], image[2]
        # A file of this folder is shown as little: what publishes the notebook would put it into the page.
        if self.remote_images and re.match(r"https?://", url, re.I):
            return f"{before}![{alt}]({_url(url)})", image.end()
        return f"{before}[{f'image: {alt}' if alt.strip() else 'image'}", at + len(alt) + 2


_ENTITY = lazy_pattern(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{0,40});")
# MathJax scans the page once more, where an entity is a backslash again: what begins mathematics stands apart from it.
_BACKSLASH = "<span>&#92;</span>"
_DOLLAR = "<span>&#36;</span>"
_DELIMITER = lazy_pattern(r"[^A-Za-z\s]|\s*&|begin|end|ref|eqref|$")


def _literal_backslash(text: str, behind: int) -> str:
    return _BACKSLASH if _DELIMITER.match(text, behind) else "&#92;"


def _inline_math_end(text: str, at: int) -> int:
    """Return where the `$` at `at` is closed as mathematics; 0 when it is money, a shell variable, or alone."""
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
    """Return whether every renderer will read it as one formula: whole braces, no code, no empty line."""
    plain = re.sub(r"\\.", "", tex, flags=re.S)
    depth = 0
    for brace in re.findall("[{}]", plain):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return bool(tex.strip()) and depth == 0 and not re.search(r"`|\n\s*\n|\$|\][(:]", plain)


def _acts(tex: str) -> bool:
    """Return whether a formula does more than to be typeset."""
    names = re.findall(r"\\(?:begin|end)(?![A-Za-z])(?:\{([A-Za-z]*)\*?\})?", tex)
    return bool(_ACTS.search(tex)) or not set(names) <= _MATHEMATICAL


def _as_code(text: str) -> str:
    """Return text as code that every tool takes for that and nothing else, on one line."""
    return f"<code>{spelled_code(' '.join(unquoted(line).strip() for line in text.split(chr(10))))}</code>"


def _tex(tex: str) -> str:
    if any(QUOTES.match(line) for line in tex.split("\n")[1:]):
        tex = " ".join(unquoted(line).strip() for line in tex.split("\n"))  # JupyterLab would typeset the quote's marks
    tex = re.sub(r"\\label\s*\{[^{}]*\}", "", tex)  # a page has each label but once
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", tex)


_BAR = lazy_pattern(r"(?<!\\)\|")
_SPAN = lazy_pattern(r"(?<![`\\])(`+)(?!`)[^\n]*?(?<!`)\1(?!`)")


def bars(line: str) -> int:
    """Return how many bars of a row divide cells, without those at its ends."""
    return len(_BAR.findall(line.strip().removeprefix("|").removesuffix("|")))


def _without_bars_in_code(line: str, most: int) -> tuple[str, list[str]]:
    """Return a row that has more bars than it should without the code spans that have some; and those as HTML.

    All parsers read that alike; a bar that is escaped keeps its backslash in some. In the row stands where each was.
    """
    spans: list[str] = []
    if bars(line) <= most or "`" not in line:
        return line, spans

    def as_mark(span: re.Match[str]) -> str:
        if "|" not in span[0]:
            return span[0]
        code = span[0].strip("`").replace(r"\|", "|").strip()
        spans.append(f"<code>{spelled_code(code)}</code>")
        return f"\0{len(spans) - 1}\0"

    placed = _SPAN.sub(as_mark, line)
    return (placed, spans) if bars(placed) <= most else (line, [])


def _paired_tags(text: str) -> dict[int, bool]:
    """Return where the harmless tags stand that are closed within the text, and whether only tags are on their line.

    One that stays open would reach beyond the text.
    """
    paired: dict[int, bool] = {}
    open_tags: list[tuple[str, int, bool]] = []
    begins = 0
    for line in text.split("\n") if _TAG.search(text) else ():
        is_alone = not _TAG.sub("", line).strip(" >-+*.)0123456789")
        for tag in _TAG.finditer(line):
            name, at = tag[2].lower(), begins + tag.start()
            if name not in HARMLESS_TAGS:
                continue
            if name == "br":
                paired[at] = is_alone
            elif not tag[1]:
                open_tags.append((name, at, is_alone))
            elif open_tags and open_tags[-1][0] == name:
                _, opened, paired_is_alone = open_tags.pop()
                paired[opened], paired[at] = paired_is_alone, is_alone
        begins += len(line) + 1
    return paired


def _link_target(text: str, at: int) -> tuple[str, int]:
    """Return the part of a link behind its text; its opening character is disarmed unless the target is harmless."""
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
    """Return a link's target, in the one way of writing it that needs no brackets."""
    url, title = _url(target[1] or target[2] or ""), target[3] or target[4]
    return f'{url} "{title.replace("$", "&#36;")}"' if title else url


def _bare_url(text: str, at: int) -> tuple[str, int]:
    """Return an address that becomes a link by itself, up to where every parser ends it."""
    hit = re.compile(r"[^\s<>`|\[\]()\\!]+").match(text, at)
    end = hit.end() if hit else at + 4
    # A parser that goes on would swallow the backtick of a code span.
    gap = " " if re.compile(r"\S*`").match(text, end) else ""
    return _url(text[at:end]) + gap, end


def _url(url: str) -> str:
    return url.replace("$", "%24").replace(" ", "%20")  # JupyterLab would look for mathematics between dollars


def _is_safe(url: str) -> bool:
    from html import unescape  # not at the top: few replies have links

    scheme = re.match(r"[^/?#]*?:", "".join(unescape(url).split()))
    return not scheme or scheme[0][:-1].lower() in SAFE_SCHEMES
