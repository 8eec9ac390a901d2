"""A reply made safe to show: what must stay as it was, what must lose its meaning, and no way around it."""

from __future__ import annotations

import itertools
import re
import sys
import time
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hostile import FRAGMENTS, HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from comet_magic.messages.message import Message
from comet_magic.render import markdown
from comet_magic.render.inline import HARMLESS_TAGS
from comet_magic.render.markdown import GrowingMarkdown, code_blocks, safe_markdown, wrapped
from comet_magic.render.message import to_markdown
from comet_magic.text import clean, escaped

MARKDOWN_TAGS = HARMLESS_TAGS | set(
    "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code a hr table thead tbody tr th td span div".split()
)
ALLOWED_ATTRIBUTES = {"href", "class", "id", "start", "style", "align", "title", "rel", "target"}


class Findings(HTMLParser):
    """What a browser would find in a page that could act."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in MARKDOWN_TAGS:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ALLOWED_ATTRIBUTES:
                self.found.append(f"<{tag} {name}>")
            scheme = re.match(r"\s*([a-z]+):", value or "", re.I)
            if name == "href" and scheme and scheme[1].lower() not in {"http", "https", "mailto"}:
                self.found.append(f"{name}={value}")

    handle_startendtag = handle_starttag

    def handle_comment(self, data: str) -> None:
        self.found.append("<!--")

    def handle_decl(self, decl: str) -> None:
        self.found.append("<!")

    def handle_pi(self, data: str) -> None:
        self.found.append("<?")


COMMONMARK = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
COMMONMARK.validateLink = lambda url: True  # the parser's own guard off: ours is under test


def rendered(markdown: str) -> dict[str, str]:
    return {"markdown-it": COMMONMARK.render(markdown), "nbconvert": markdown2html_mistune(markdown)}


def findings(text: str) -> dict[str, list[str]]:
    return {name: found for name, html in rendered(safe_markdown(text)).items() if (found := Findings(html).found)}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_finds_nothing_that_acts(text: str) -> None:
    assert findings(text) == {}


@settings(max_examples=3000, deadline=None)
@given(st.lists(FRAGMENTS, min_size=1, max_size=25).map("".join))
def test_no_mixture_finds_anything_that_acts(text: str) -> None:
    assert findings(text) == {}


# A text with dollars is read anew each time, so half of the texts have none.
WITHOUT_DOLLARS = FRAGMENTS.filter(lambda fragment: not markdown.dollars_of(fragment))


@settings(max_examples=1000, deadline=None)
@given(st.lists(FRAGMENTS, min_size=1, max_size=25) | st.lists(WITHOUT_DOLLARS, min_size=1, max_size=25), st.data())
def test_a_text_that_grows_is_read_as_the_whole_is(parts: list[str], data: st.DataObject) -> None:
    growing = GrowingMarkdown()
    for end in range(1, len(parts) + 1):
        text = "".join(parts[:end])
        cut = data.draw(st.integers(0, len(text)))
        for shown in (text, text[:cut]):  # it may begin anew, too
            assert growing.safe(shown) == safe_markdown(shown, is_growing=True)


def test_a_line_is_read_once_while_a_text_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    of_line = markdown._Scanner.read_line
    monkeypatch.setattr(markdown._Scanner, "read_line", lambda self, line: (read.append(line), of_line(self, line)))
    growing, text = GrowingMarkdown(), ""
    for number in range(100):
        text += f"Line {number} with `code`.\n\n"
        growing.safe(text)
    assert len(read) == 200 + 100  # all lines, and the empty one at the end of each paint


@pytest.mark.parametrize("stopped_at", range(1, 9))
def test_an_interrupt_while_lines_are_read_leaves_nothing_half_read(
    stopped_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ["# A\n", "- one\n  - two\n", "```py\nx = 1\n```\n", "| a |\n|---|\n", "<b>end</b>\n", "more\n"]
    texts = ["".join(parts[:end]) for end in range(1, len(parts) + 1)]
    of_line, count = markdown._Scanner.read_line, itertools.count(1)

    def read_line(self: Any, line: str) -> None:
        of_line(self, line)
        if next(count) == stopped_at:
            raise KeyboardInterrupt

    wanted = [safe_markdown(text, is_growing=True) for text in texts]
    monkeypatch.setattr(markdown._Scanner, "read_line", read_line)
    growing, shown, stops = GrowingMarkdown(), [], 0
    for text in texts:
        try:
            shown.append(growing.safe(text))
        except KeyboardInterrupt:
            stops += 1
            shown.append(growing.safe(text))
    assert (shown, stops) == (wanted, 1)


def test_images_of_a_text_that_grows_are_shown_where_they_may_be() -> None:
    text = "![a picture](https://example.org/a.png)\n\nmore"
    for remote_images in (False, True):
        growing = GrowingMarkdown(remote_images=remote_images)
        growing.safe(text[:41])
        assert growing.safe(text) == safe_markdown(text, remote_images=remote_images, is_growing=True)
    assert "![a picture]" in growing.safe(text)


KEPT = [
    "plain text, *emphasis*, **strong**, ~~gone~~",
    "inline `code <b> $x$ & more` here",
    "``a ` b``",
    "```html\n<img src=x onerror=1>\n$5 and $6\n```\n",
    "~~~py\nx = {'a': 1}\n~~~\n",
    "    indented = code\n    more",
    "[link](https://example.org/a_(b)?x=1#y) and <br> and H<sub>2</sub>O",
    "| a | b |\n|---|---|\n| `x \\| y` | 2 |",
    "- item\n  - nested\n    1. deep",
    "$x^2$ and $$\\int_0^1 x\\,dx$$",
    "$a_1 * b_2$, $\\{x\\}$ and $n$",
    "a < b and 3 > 2 & c",
    "> quoted\n> more",
    "> ```py\n> x = 1\n> ```\n> ",
    "1. Step:\n\n   ```sh\n   ls\n   ```\n   ",
]


@pytest.mark.parametrize("text", KEPT)
def test_harmless_markdown_stays_as_it_was(text: str) -> None:
    assert safe_markdown(text) == text


def test_dollars_that_are_money_are_no_mathematics() -> None:
    for money in ("$5 to $9", "from $5, then $9.", "$5 and 10$", "US$5 or A$6", "$HOME/$USER", "$5-$9 ($7)"):
        assert "$" not in safe_markdown(money), money
        assert re.sub("<[^>]*>", "", rendered(safe_markdown(money))["markdown-it"]).strip() == f"{money}"


def test_one_dollar_alone_is_left_alone() -> None:
    assert safe_markdown("it costs $5") == "it costs $5"


def test_tex_brackets_become_dollars() -> None:
    assert safe_markdown(r"so \(x\) and \[ y \]") == "so $x$ and $$ y $$"


def test_an_unclosed_fence_is_closed_and_its_half_closing_held_back() -> None:
    assert safe_markdown("```py\nx = 1") == "```py\nx = 1\n```"
    assert safe_markdown("```py\nx = 1\n``", is_growing=True) == "```py\nx = 1\n```"


def test_code_in_a_list_ends_where_the_item_ends() -> None:
    assert safe_markdown("- ```\n  x\ny").splitlines() == ["- ```", "  x", "  ```", "", "y"]
    assert safe_markdown("Text:\n\n  ```sh\nls\n  ```") == "Text:\n\n  ```sh\nls\n  ```"


def test_numbers_and_ordinals_are_mathematics() -> None:
    for text in ("$0.05$ or $1,000$", "the $n$th and $x_i$s", "$p < 0.05$, $2^{10}$"):
        assert safe_markdown(text) == text


def test_mathematics_in_a_quote_loses_the_quotes_marks() -> None:
    assert safe_markdown("> \\[\n> x = 1\n> \\]") == "> $$ x = 1 $$"


def test_links_are_written_in_one_way() -> None:
    for text, link in (
        ("[a](https://b.c 't')", '[a](https://b.c "t")'),
        ("[a](<https://b.c/x y>)", "[a](https://b.c/x%20y)"),
        ('[a](https://b.c "$5")', '[a](https://b.c "&#36;5")'),
        ("[1]: <https://b.c> 't'", '[1]: https://b.c "t"'),
        ("<me@b.c>", "[me@b.c](mailto:me@b.c)"),
    ):
        assert safe_markdown(text) == link


def test_a_paragraph_above_a_table_keeps_its_code() -> None:
    text = "Text `a|b`:\n| a | b |\n|---|---|\n| <kbd>x</kbd> | 1 |"
    assert safe_markdown(text) == text


def test_long_lines_of_one_character_take_no_time() -> None:
    began = time.monotonic()
    for piece in ("!", "[", "![a", "\\begin{a} ", "\\(", "$", "`a", "<b>", "]("):
        safe_markdown(piece * 20_000)
    assert time.monotonic() - began < 30  # measured 1.5 s; the quadratic way takes minutes


def test_remote_images_are_links_unless_wanted() -> None:
    image = "![a plot](https://example.org/p.png)"
    assert safe_markdown(image) == "[image: a plot](https://example.org/p.png)"
    assert safe_markdown(image, remote_images=True) == image
    assert safe_markdown("[image: a plot](plot.png)") == "[image: a plot](plot.png)"


def test_a_link_that_could_run_is_shown_as_text() -> None:
    html = COMMONMARK.render(safe_markdown("[x](javascript:alert(1))"))
    assert "[x](javascript:alert(1))" in html
    assert "<a" not in html


def test_control_characters_and_surrogates_are_replaced() -> None:
    assert clean("a\x1b[31m\x00b\r\nc\rd\u202e\ud83d\ude00\ud800") == "a\ufffd[31m\ufffdb\nc\nd\ufffd😀\ufffd"


def test_a_name_is_shown_literally_on_one_line() -> None:
    assert (
        COMMONMARK.render(escaped("*a*\n<b>`c`[d](e)$1$")).strip()
        == "<p>*a* &lt;b&gt;`c`[d](e)<span>$</span>1<span>$</span></p>"
    )


def test_plain_text_is_folded_outside_code_and_tables() -> None:
    words = " ".join(["word"] * 30)
    code = "```\n" + "x" * 120 + "\n```"
    row = "| " + "cell | " * 30
    folded = wrapped(f"- {words}\n{code}\n{row}", width=40).split("\n")
    assert folded[1].startswith("  word")
    assert max(map(len, folded[:4])) <= 40
    assert "\n".join(folded).endswith(f"{code}\n{row}")


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(safe_markdown(text), str)
    assert not re.search("[\x00-\x08\x1b\ud800-\udfff]", safe_markdown(text))


@pytest.mark.parametrize("image", ["![c](data/../.env)", "![c](secret.csv)", "![c](./id_rsa)", "![c](a.png)", "![](b)"])
def test_a_reply_owns_no_files(image: str) -> None:
    assert "<img" not in COMMONMARK.render(safe_markdown(image))


@pytest.mark.parametrize(
    "tex",
    [
        r"$\gdef\alpha{EVIL}$", r"$$\def\x{1}\x$$", r"\(\let\a\b\)", r"\[\newcommand{\a}{b}\]", r"$\renewcommand*\a{b}$",
        r"$\require{html}$", r"$\input{/etc/passwd}$", r"$$\immediate\write18{id}$$", r"$\openin5=/etc/passwd$",
        r"$\csname input\endcsname$", r"$\catcode`\@=11$", r"$\href{javascript:x}{y}$", r"$\^^69nput{x}$",
        r"\begin{filecontents}{x}\end{filecontents}", r"$\begin{filecontents}x\end{filecontents}$", r"$\bbox[a:b]{x}$",
        r"$\InputIfFileExists{.env}{}{}$", r"$\ExplSyntaxOn\file_input:n{.env}$", r"$\end{document}$", r"$\globaldefs=1$",
        r"$\definecolor{red}{RGB}{0,0,0}$", r"$\usetagform{x}$", "$$\\begin%\n{filecontents}{x}$$", r"$\unicode{x25C8}$",
        r"$\DeclareMathOperator{\a}{b}$", r"$\NewDocumentCommand\a{}{b}$", r"$\lstinputlisting{x}$", r"$\@@input x$",
    ],
)  # fmt: skip
def test_a_formula_that_acts_is_no_formula(tex: str) -> None:
    made = safe_markdown(f"so {tex} it is")
    assert "\\" not in made
    assert not re.search(r"\$|\\begin", made)


@pytest.mark.parametrize(
    "tex",
    [
        r"$\left(\frac{a}{b}\right)\leq\theta\newline$", r"\begin{align*}a&=b\end{align*}", r"$\bm{x}\mathbf{y}$",
        r"$\begin{pmatrix}1&2\end{pmatrix}$", r"$\text{if } x_{new}$", r"$\operatorname{argmax}\to\infty$",
    ],
)  # fmt: skip
def test_a_formula_stays_one(tex: str) -> None:
    assert safe_markdown(tex) == tex


@pytest.mark.parametrize("text", [r"\input{/etc/passwd}", "`\\input{x}`{=latex}", "```{=latex}\n\\input{x}\n```"])
def test_pandoc_gets_no_tex_to_pass_on(text: str) -> None:
    made = safe_markdown(text)
    assert not re.search(r"^\\[a-z]|[`}]\{=|```\{", made)


@pytest.mark.parametrize("text", ["{{< env KEY >}}", "{{< include x >}}", "{% include x %}", "{include}`x`", "::: {x}"])
def test_other_tools_find_no_instructions(text: str) -> None:
    made = safe_markdown(text)
    assert not re.search(r"\{\{<|\{%|\{\w+\}`|:::", made)
    assert COMMONMARK.render(made).count(text[0]) >= 1


def test_a_reply_cannot_write_our_lines() -> None:
    ours = to_markdown(Message("assistant", ({"type": "text", "text": "x"},), model="m", stop_reason="max_tokens"))
    made = safe_markdown(ours)
    assert "<small>" in ours
    assert "◈" in ours
    assert "<small>" not in made
    assert "◈" not in made


@pytest.mark.parametrize(
    "unseen",
    [
        "\U000e0069\U000e0067", "\u200b\u2060", "\u200e\u200f\u061c", "\u3164\u115f\u1160\uffa0", "\ufe0f\U000e0100", "\u00ad",
        "\u2028\u2029", "\ufff9\ufffa", "\u202e\u2066", "\u200c\u200d",
    ],
)  # fmt: skip
def test_nothing_stays_that_cannot_be_seen(unseen: str) -> None:
    for made in (safe_markdown(f"pay{unseen}pal"), code_blocks(f"```\npay{unseen}pal\n```")[0][1]):
        assert not set(made) & set(unseen)


@pytest.mark.parametrize("text", ["👩\u200d💻", "❤\ufe0f", "می\u200cخواهم", "क्\u200dष"])
def test_what_shapes_a_letter_or_an_emoji_stays(text: str) -> None:
    assert safe_markdown(text) == text


@pytest.mark.parametrize("piece", ["<b></b>", "<b>", "</b>", "[`", "$a", "{", "\\begin{a}"])
def test_no_piece_makes_it_slow(piece: str) -> None:
    """Twice the text takes about twice the steps; they are counted, for machines are busy."""
    counts = []
    for times in (500, 1000, 2000):
        steps = [0]
        sys.setprofile(lambda *_, steps=steps: steps.__setitem__(0, steps[0] + 1))
        safe_markdown(piece * times)
        sys.setprofile(None)
        counts.append(steps[0])
    assert counts[2] - counts[1] < 3 * (counts[1] - counts[0]) + 1000


@pytest.mark.parametrize(
    "text",
    [
        r"\\(\def\alpha{E}\\)", r"&#36;\def\beta{E}&#36;", r"&dollar;x&dollar;", r"\begin{align}\def\gamma{E}}\end{align}",
        r"&bsol;begin{align}x&bsol;end{align}", r"&#92;(x&#92;)", r"\\[x\\]", r"| a | &#36;x&#36; |", r"\\begin{align}x",
        r"&#x5c;&#x28;x&#x5c;&#x29;", r"\&#40;x\&#41;",
    ],
)  # fmt: skip
def test_no_entity_begins_mathematics_in_the_page(text: str) -> None:
    """MathJax scans the text of the page, in which entities are signs again; only an element of its own stops it."""
    for render in (COMMONMARK.render, markdown2html_mistune):
        page = unescape(re.sub(r"<span>.</span>", "", unescape_spans(render(safe_markdown(text)))))
        assert not re.search(r"\$[^$]*\$|\\[(\[]|\\begin", page)


def unescape_spans(html: str) -> str:
    return re.sub(r"<span>(&#\d+;|\\)</span>", "<span>.</span>", html)


@pytest.mark.parametrize(
    "entity", ["&#9672;", "&#x25C8;", "&#8203;", "&#x202e;", "&ZeroWidthSpace;", "&shy;", "&zwj;", "&#xE0041;"]
)
def test_no_entity_is_our_mark_or_cannot_be_seen(entity: str) -> None:
    html = unescape(COMMONMARK.render(safe_markdown(f"a{entity}b")))
    assert clean(html) == html
    assert "◈" not in html


@pytest.mark.parametrize("entity", ["&lt;b&gt;", "&amp;", "&nbsp;", "&copy;", "AT&T", "a && b", "&#228;", "&unknown;"])
def test_an_ordinary_entity_stays(entity: str) -> None:
    assert safe_markdown(entity) == entity


def test_joiners_do_not_hide_behind_one_another() -> None:
    assert clean("pay\ufe0f\u200dpal") == "paypal"
    assert clean("☺" + "\ufe0f" * 20) == "☺\ufe0f"
    assert clean("a\U0001d159\U00013430\U0001bca0\U00016fe4b") == "ab"


EMPHASIS = {
    "**注意：**请先备份": "<strong>注意：</strong>请先备份",
    "这是**“引用”**的文字": "<strong>“引用”</strong>",
    "还有**`代码`**。": "<strong><code>代码</code></strong>",
    "日本語の**強調（かっこ）**です。**太字。**次の文。": "<strong>太字。</strong>次の文",
    "한국어 **강조(괄호)**입니다.": "<strong>강조(괄호)</strong>입니다",
    "这*（重要）*吗": "<em>（重要）</em>",
    "| a |\n|---|\n| 中**“b”**文 |": "<strong>“b”</strong>",
}


@pytest.mark.parametrize(("text", "expected"), EMPHASIS.items())
def test_emphasis_beside_letters_that_set_no_spaces(text: str, expected: str) -> None:
    for html in rendered(safe_markdown(text)).values():
        assert expected in html
        assert "*" not in html


@pytest.mark.parametrize(
    "text", ["中文 2 * 3 * 4", "`**“a”**的`", r"\*\*“a”**的", "中 a**b", "2**3**4 中", "```\n是**“a”**的\n```"]
)
def test_other_asterisks_stay(text: str) -> None:
    assert safe_markdown(text) == text


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("| `a || b` | or |", ["a || b", "or"]),
        ("| ``a | ` | b`` | or |", ["a | ` | b", "or"]),
        ("| `a` | `b` |", ["a", "b"]),
    ],
)
def test_a_row_with_bars_in_its_code_keeps_its_columns(row: str, cells: list[str]) -> None:
    for html in rendered(safe_markdown(f"| code | means |\n|---|---|\n{row}\n")).values():
        found = re.findall(r"<td[^>]*>(.*?)</td>", html)
        assert [unescape(re.sub("<[^>]*>", "", cell)) for cell in found] == cells


def test_an_alert_is_a_note() -> None:
    shown = safe_markdown("> [!NOTE]\n> Mind `x`.\n\n> [!warning]- Look out\n> Two.\n\n[!TIP] in text, > [!TIP] too")
    for html in rendered(shown).values():
        assert "<p><strong>Note</strong></p>" in html
        assert "<p><strong>Warning</strong></p>" in html
        assert "Look out" in html
        assert html.count("[!") == 2


def test_an_entity_for_a_dollar_is_money() -> None:
    for html in rendered(safe_markdown("It costs &#36;5 or &dollar;6, &#x24;7.")).values():
        assert re.sub("<[^>]*>", "", html).strip() in ("It costs $5 or $6, $7.", "It costs &#36;5 or &#36;6, &#36;7.")


LIVE = [
    'Costs &#36;5. Run `echo $ <img src=x onerror="alert(1)">` now.',
    "&dollar; `$<img src=x onerror=alert(1)>`",
    "&#x24;5 `$ <img src=x onerror=alert(1)>` and &#036;",
    '|\nhttp://|``<img src=x onerror="alert(1)">``',
    "| a | b |\n|---|\nhttp://x.y/|``<img src=x onerror=alert(1)>``",
    "| a |\n|---|\n| www.x.y|`<img src=x onerror=alert(1)>` |",
]


@pytest.mark.parametrize("text", LIVE)
def test_what_a_reviewer_got_to_run_in_exported_pages(text: str) -> None:
    for html in rendered(safe_markdown(text)).values():
        assert Findings(html).found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**注意：**Python 是一种语言", "<strong>注意：</strong>Python"),
        ("**时间：**2024年", "<strong>时间：</strong>2024"),
        ("用Python**（推荐）**写", "Python<strong>（推荐）</strong>写"),
        ("**$5：**字 和 **$6：**字", "：</strong>字 和 <strong>"),
    ],
)
def test_emphasis_beside_latin_letters_and_money(text: str, expected: str) -> None:
    for html in rendered(safe_markdown(text)).values():
        assert expected in html
        assert "*" not in html


@pytest.mark.parametrize(
    "text", ["函数 f(*参数, **选项) 与 g(*参数, **选项)", "文件*.py和*.txt", "[字*](https://a.b)字*", "$a*b$ 字 $c*d$"]
)
def test_signs_of_code_stay_signs(text: str) -> None:
    assert safe_markdown(text).replace("<span>&#36;</span>", "$") == text


HOSTILE_ASTERISKS = [
    "字* " + "`" * 50_000 + "a",
    "字*" + " ".join("`" * length for length in range(1, 430)),
    " **a b*" * 14_000 + "字",
    "字 **a " * 10_000 + "b* " * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE_ASTERISKS, ids=range(len(HOSTILE_ASTERISKS)))
def test_asterisks_take_no_time_that_grows_with_their_square(text: str) -> None:
    def seconds(text: str) -> float:
        began = time.process_time()
        safe_markdown(text)
        return time.process_time() - began

    assert seconds(text) < 2  # they took 4 to 73 s


def test_a_quoted_table_with_bars_in_its_code() -> None:
    html = COMMONMARK.render(safe_markdown("> | a | b |\n> |---|---|\n> | `a || b` | 2 |"))
    assert [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", html)] == [
        "a || b",
        "2",
    ]
    html = COMMONMARK.render(safe_markdown("| a | b |\n|---|---|\n| \\`a | b\\` | 2 |"))
    assert "<code>" not in html
    assert "&lt;code" not in html


def test_an_alert_keeps_its_word_and_what_stands_beside_it() -> None:
    shown = safe_markdown("> [!WARNING] Do **not** run\n> x\n\n> [!NOTE] C:\\\n> y")
    for html in rendered(shown).values():
        assert "<strong>Warning</strong>" in html
        assert "Do <strong>not</strong> run" in html
        assert "<strong>Note</strong>" in html
        assert "*" not in html
