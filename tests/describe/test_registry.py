"""What stands for a value that is no table: pictures, files, arrays, collections, code, estimators, anything."""

from __future__ import annotations

import base64
import dataclasses
import enum
import io
import json
import math
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LinearRegression
from wire_server import WireServer, canonical

import comet_magic
from comet_magic.describe.description import Description, Limits
from comet_magic.describe.question import question
from comet_magic.describe.registry import describe
from comet_magic.errors import ConfigError
from comet_magic.messages.image_size import media_type, pixels
from comet_magic.messages.tokens import block_tokens, estimated_tokens
from comet_magic.notebook.executions import MARGIN, MOST_OUTPUT, Execution, Output
from comet_magic.redaction import Redactor, Secrets, is_secret_name
from comet_magic.settings import CometSettings

mpl.use("agg")
import matplotlib.pyplot as plt


def described(value: Any, **bounds: Any) -> Description:
    return describe(value, Limits(**bounds))[0]


def text(value: Any, **bounds: Any) -> str:
    return described(value, **bounds).text


def picture_of(description: Description) -> Image.Image:
    source = description.attached[0]["source"]
    return Image.open(io.BytesIO(base64.b64decode(source["data"])))


def encoded(kind: str, size: tuple[int, int] = (300, 200), mode: str = "RGB") -> bytes:
    written = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(written, format=kind)
    return written.getvalue()


# ---- pictures


@pytest.fixture
def figure() -> Any:
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    yield figure
    plt.close(figure)


def as_shown(figure: Any) -> tuple[int, int]:
    """The size in which a notebook shows it."""
    written = io.BytesIO()
    figure.savefig(written, format="png", bbox_inches="tight")
    return Image.open(written).size


def test_what_lies_outside_of_the_axes_is_in_the_picture() -> None:
    figure, axes = plt.subplots(figsize=(4, 3))
    try:
        axes.plot([1, 2], label="a series with a long name " * 3)
        axes.legend(bbox_to_anchor=(1.05, 1), loc="upper left")
        figure.suptitle("high above", y=1.3)
        assert picture_of(described(figure)).size == as_shown(figure)
    finally:
        plt.close(figure)


def test_an_empty_figure_is_a_sentence() -> None:
    figure = plt.figure()
    try:
        assert described(figure) == Description("matplotlib Figure", "an empty figure: it has no axes", is_value=True)
        figure.text(0.5, 0.5, "only words")
        assert described(figure).attached
    finally:
        plt.close(figure)


def test_axes_of_other_toolkits_and_what_is_drawn_are_pictures() -> None:
    class GeoAxes(type(plt.figure().add_subplot(projection="polar"))):  # type: ignore[misc]
        __module__ = "cartopy.mpl.geoaxes"

    figure = plt.figure()
    try:
        axes = figure.add_axes(GeoAxes(figure, (0.1, 0.1, 0.8, 0.8)))
        lines = axes.plot([1, 2], [1, 2])
        for value in (axes, lines, lines[0], figure.add_subplot(projection="3d")):
            assert described(value).attached[0]["type"] == "image"
    finally:
        plt.close("all")


def test_a_picture_of_another_kind_is_made_a_png(tmp_path: Path) -> None:
    for kind in ("BMP", "TIFF"):
        content = encoded(kind)
        (tmp_path / f"scan.{kind.lower()}").write_bytes(content)
        for value in (content, tmp_path / f"scan.{kind.lower()}"):
            assert described(value).label == "PNG 300×200"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"PK\x03\x04" + bytes(100), "104 bytes: a ZIP archive"),
        (b"PAR1" + bytes(100), "104 bytes: Parquet"),
        (b"SQLite format 3\0" + bytes(10), "26 bytes: an SQLite database"),
        ("höhe;3\n".encode(), "höhe;3"),
        (bytes(range(200, 256)) * 3, "168 bytes that are not text, beginning c8c9cacbcccdcecf"),
    ],
)
def test_bytes_are_said_to_be_what_they_are(value: bytes, told: str) -> None:
    assert text(value).startswith(told)


def test_a_figure_is_an_image_of_its_own_size(figure: Any) -> None:
    for value in (figure, figure.axes[0]):
        description = described(value)
        assert description.label == "PNG 556×413"
        assert picture_of(description).size == as_shown(figure)
        assert block_tokens(description.attached[0]) == math.ceil(556 * 413 / 750)
    assert described(figure) == described(figure)


def test_a_large_figure_is_scaled_to_the_stated_size(figure: Any) -> None:
    figure.set_size_inches(40, 10)
    assert 1490 < max(picture_of(described(figure)).size) <= 1568
    assert 380 < max(picture_of(described(figure, image_pixels=400)).size) <= 400
    assert (figure.dpi, tuple(figure.get_size_inches())) == (100.0, (40.0, 10.0))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_bytes_and_files_of_images_go_as_they_are(kind: str, tmp_path: Path) -> None:
    content = encoded(kind)
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(content)
    from IPython.display import Image as Displayed

    values: list[Any] = [content, bytearray(content), path]
    if kind != "WEBP":  # which IPython does not know
        values.append(Displayed(data=content))
    for value in values:
        description = described(value)
        assert description.label == f"{kind} 300×200"
        assert base64.b64decode(description.attached[0]["source"]["data"]) == content
        assert description.attached[0]["source"]["media_type"] == f"image/{kind.lower()}"


def test_a_large_image_is_scaled_and_a_photograph_becomes_a_jpeg() -> None:
    assert picture_of(described(encoded("PNG", (3000, 30)))).size == (1568, 16)
    photograph = described(encoded("PNG", (2400, 1800), "RGBA"), image_pixels=4000)
    assert len(photograph.attached[0]["source"]["data"]) <= 5_000_000
    assert photograph.label.startswith("JPEG ")
    assert picture_of(photograph).size == tuple(map(int, photograph.label[5:].split("×")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "LA"])
def test_an_image_of_pillow_in_any_mode(mode: str) -> None:
    image = Image.new(mode, (20, 10))
    assert described(image).label == "PNG 20×10"
    assert image.mode == mode


def test_plotly_and_altair() -> None:
    import altair
    import plotly.graph_objects as go

    chart = altair.Chart(altair.InlineData([{"x": 1, "y": 2}])).mark_point().encode(x="x:Q", y="y:Q")
    assert described(chart).label.startswith("PNG ")
    try:
        import kaleido  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="plotly could not make an image") as caught:
            described(go.Figure())
        assert "kaleido" in caught.value.hint


def test_an_image_that_is_only_an_address_is_not_fetched() -> None:
    from IPython.display import Image as Displayed

    with pytest.raises(ConfigError, match="only an address"):
        described(Displayed(url="https://example.org/x.png"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_sizes_are_read_from_the_first_bytes(kind: str) -> None:
    content = encoded(kind, (333, 77))
    assert pixels(content) == (333, 77)
    assert media_type(content) == f"image/{kind.lower()}"
    for length in range(len(content[:40])):
        pixels(content[:length])  # whatever it says, it does not fail


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBPVP8X", b"RIFF1234WEBPVP8L", b""]),
    st.binary(max_size=60),
)
def test_broken_pictures_have_no_size_and_do_no_harm(magic: bytes, rest: bytes) -> None:
    size = pixels(magic + rest)
    assert size is None or len(size) == 2


def test_a_message_with_pictures_has_blocks_in_order(figure: Any) -> None:
    asked = question("Compare {{a}} with\n{{b}}\n", CometSettings.instance(), {"a": figure, "b": encoded("PNG")})
    kinds = [block["type"] for block in asked.message.content]
    assert kinds == ["text", "image", "text", "image"]
    assert asked.message.content[0]["text"] == "Compare [a, the image that follows: PNG 556×413]"
    assert asked.message.content[2]["text"] == " with\n[b, the image that follows: PNG 300×200]"
    assert asked.parts == ("your text", "a (PNG 556×413)", "b (PNG 300×200)")


def test_a_model_that_takes_no_pictures_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CometSettings.instance()
    settings.endpoint = "local"
    with pytest.raises(ConfigError, match="the local model takes text only, and no image"):
        comet_magic.ask("{{x}}", x=encoded("PNG"))


def test_the_proof_has_a_thumbnail(figure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(canonical("A line.")) as server:
        CometSettings.instance().endpoint = server.url
        reply = comet_magic.ask("{{figure}}", figure=figure)
    markdown = reply._repr_markdown_()
    data = markdown.split("![a picture that was sent](data:image/png;base64,")[1].split(")")[0]
    assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) == 360
    assert len(markdown) < 20_000
    assert "PNG 556×413" in reply._repr_mimebundle_()["text/plain"]


def test_pictures_count_as_their_tokens_in_a_history(figure: Any) -> None:
    from comet_magic.messages.conversation import Turn
    from comet_magic.messages.message import Message

    asked = question("{{f}}", CometSettings.instance(), {"f": figure}).message
    turn = Turn.of("c", (asked, Message("assistant", ({"type": "text", "text": "ok"},))))
    assert len(turn.wire) > 10_000
    assert turn.size < 3 * 410 + 500


# ---- files


def test_files(tmp_path: Path) -> None:
    Path("notes.txt").write_text("é one\ntwo")
    assert text(Path("notes.txt")) == "é one\ntwo"
    assert described(Path("notes.txt")).kind == "text file notes.txt"
    Path("bom.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert text(Path("bom.csv")) == "a,b\n1,2\n"
    Path("long.log").write_text("".join(f"line {n}\n" for n in range(50_000)))
    long = text(Path("long.log"))
    assert estimated_tokens(long) <= 5100
    assert long.startswith("line 0\n")
    assert long.endswith("line 49999\n")
    assert "characters left out …]" in long
    pdf = b"%PDF-1.4\n1 0 obj<</Type /Pages>>\n2 0 obj<</Type /Page>>\n3 0 obj<</Type/Page/Parent 1 0 R>>"
    Path("paper.pdf").write_bytes(pdf)
    document = described(Path("paper.pdf"))
    assert document.label == "PDF, 2 pages"
    assert document.attached[0]["type"] == "document"
    assert base64.b64decode(document.attached[0]["source"]["data"]) == pdf
    assert document.attached[0]["title"] == "paper.pdf"
    assert text(Path(".")).splitlines() == ["bom.csv", "home/", "long.log", "notes.txt", "paper.pdf"]
    Path("odd.bin").write_bytes(b"\0\1\2")
    for name in ("odd.bin", "none.txt"):
        with pytest.raises(ConfigError, match=name):
            described(Path(name))


# ---- arrays


# ---- ordinary Python


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    name: str = "p"


def mean(values: list[float]) -> float:
    """The mean of some values."""
    return sum(values) / len(values)


def test_ordinary_values() -> None:
    assert text(5) == "5"
    assert text(None) == "None"
    assert text("a text") == "a text"
    assert text({"a": 1}) == "{'a': 1}"
    assert text(Colour.RED) == "Colour.RED: 1"
    assert text(Point(3)) == 'x = 3\nname = "p"'
    assert text(namedtuple("Pair", "a b")(1, 2)) == "a = 1\nb = 2"
    assert text(10**5000).startswith("a number of too many digits")
    assert described(object()).text == "<object object>"
    assert text(frozenset([1])) == "frozenset({1})"


def test_collections_are_outlined_within_their_bound() -> None:
    deep: dict[str, Any] = {
        "rows": [{"id": n, "name": f"row {n}"} for n in range(1000)],
        "total": 1000,
        "long": "x" * 10_000,
    }
    outline = text(deep)
    assert estimated_tokens(outline) <= 1500
    assert outline.startswith("dict of 3\n  rows: list of 1,000\n")
    assert "more" in outline
    assert text(list(range(3000))).startswith("list of 3,000: 0, 1, 2, ")
    around: list[Any] = []
    around.append(around)
    assert "list" in text(around)
    many = text({n: n for n in range(10_000)})
    assert estimated_tokens(many) <= 1500
    assert " more" in many.splitlines()[-1]


@given(st.recursive(st.one_of(st.integers(), st.text(), st.none(), st.floats(), st.binary()), lambda inner: st.one_of(
    st.lists(inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner), st.tuples(inner, inner)), max_leaves=60),
    st.booleans())  # fmt: skip
def test_any_collection_has_a_description_in_its_bound(value: Any, share: bool) -> None:
    assume(not (isinstance(value, bytes) and media_type(value)))  # it says that it is a picture, and would be one
    share = share or isinstance(value, bytes | str)
    assert described(value, share_values=share, text_tokens=200, table_tokens=200).tokens <= 230


def test_code() -> None:
    assert text(mean).startswith("def mean(values: list[float]) -> float:\n")
    assert "class Point:" in text(Point)
    assert "json 2" in text(sys.modules["json"]) or "module json" in text(sys.modules["json"])
    assert "dumps(obj, *" in text(sys.modules["json"])
    assert text(len).startswith("len(obj, /)")
    assert "class LinearRegression(" in text(LinearRegression)
    assert estimated_tokens(text(sys.modules["numpy"])) <= 5000


def test_estimators() -> None:
    model = LinearRegression(positive=True)
    assert "not fitted" in text(model)
    model.fit(np.arange(10).reshape(5, 2), np.arange(5))
    fitted = text(model)
    assert "positive = True" in fitted
    assert "coef_: [0.5, 0.5" in fitted or "coef_: [" in fitted


# ---- odd things


def test_damaged_pictures_are_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    broken = [encoded("JPEG")[:-900], encoded("PNG")[:-900], b"GIF89a\x0a\0\x0a\0" + b"x" * 5000, encoded("PNG")[:60]]
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        for content in broken:
            with pytest.raises(ConfigError, match="cannot be read|this is no PNG"):
                comet_magic.ask("{{x}}", x=content)
        assert server.received == []


def test_a_photograph_that_lies_on_its_side_is_turned() -> None:
    written = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (200, 100)).save(written, format="JPEG", exif=exif)
    assert picture_of(described(written.getvalue())).size == (100, 200)


def test_deep_pictures_keep_their_range() -> None:
    ramp = np.linspace(1000, 60000, 256).astype("uint16").reshape(16, 16)
    grey = np.asarray(picture_of(described(Image.fromarray(ramp))))
    assert (grey.min(), grey.max()) == (0, 255)


def test_axes_wherever_they_are() -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8, 4))
    try:
        assert described(axes).label == described((figure, axes)).label == described(list(axes)).label == "PNG 682×356"
        width, height = picture_of(described(axes[0])).size
        assert width < 450 < 800
        assert height <= 400
    finally:
        plt.close(figure)


def test_what_answers_to_anything_or_fails_at_everything() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Shape:
        dtype = "float"

        @property
        def shape(self) -> Any:
            raise RuntimeError

    assert described(MagicMock()).kind == "unittest MagicMock"
    assert "Broken" in text(Broken())
    assert "coordinates" not in text([Broken(), 10**5000, {1: object()}])


def test_nothing_is_computed_or_imported() -> None:
    import duckdb
    import polars as pl

    calls: list[int] = []
    connection = duckdb.connect()
    connection.create_function("seen", lambda x: calls.append(x) or x, ["BIGINT"], "BIGINT", side_effects=True)
    relation = connection.sql("select seen(i) as v from range(5) t(i)")
    assert "duckdb DuckDBPyRelation" in text([relation, pl.LazyFrame({"a": [1]})])
    assert calls == []
    before = len(sys.modules)
    text(sys.modules["sklearn"])
    assert len(sys.modules) == before


def test_values_of_pandas_and_numpy_have_their_contents() -> None:
    import pandas as pd

    assert text(pd.DataFrame({"a": [1], "b": [2]}).columns) == "['a', 'b']"
    assert text(pd.Series(["x", "y", "x"]).unique()) == "['x', 'y']"
    assert text(pd.Categorical(["x", "y"])) == "['x', 'y']"
    assert "300 rows × 1 column" in text(pd.Index(range(300)))
    days = text(np.array(["2024-01-01", "2024-01-03"], "M8[ns]"))
    assert "|2024-01-01||2024-01-02||2024-01-03" in days
    assert text(np.datetime64("2024-01-01", "ns")) == "2024-01-01 00:00:00"


def test_what_a_pipeline_learned() -> None:
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(LinearRegression())
    assert "not fitted" in text(pipeline)
    pipeline.fit(np.arange(6).reshape(3, 2), np.arange(3))
    assert "not fitted" not in text(pipeline)
    assert "fitted" in text(pipeline)


def test_what_is_not_shared() -> None:
    from sklearn.preprocessing import OneHotEncoder

    class Callable_:
        def __call__(self) -> None: ...
        def __repr__(self) -> str:
            return "ALICE"

    values = [{"ALICE": 1}, {"a": Callable_()}, {1: {"ALICE"}}, OneHotEncoder(categories=[["ALICE"]]),
              np.array({"ALICE": 1}, dtype=object)]  # fmt: skip
    assert [value for value in values if "ALICE" in text(value, share_values=False)] == []


DETERMINISTIC = """
import sys; sys.path[:0] = [sys.argv[1]]
import matplotlib; matplotlib.use("agg")
import matplotlib.pyplot as plt
import pandas as pd
from comet_magic.describe.description import Limits
from comet_magic.describe import describe
def f(x=object()): pass
f.__module__ = "elsewhere"
values = [{f"w{i}" for i in range(30)}, {1, "a", None, 2.5}, [object()], plt.plot([1, 2]), f, {"o": object()}, ValueError(object()),
          pd.DataFrame({"o": [object()] * 3, object(): 1}), plt.gcf(), {frozenset("abc"): {"x", "y"}}]
for value in values:
    for one in describe(value, Limits()):
        print(one)
"""


def test_descriptions_are_the_same_in_every_process() -> None:
    root = str(Path(__file__).parents[2])
    said = [
        subprocess.run([sys.executable, "-c", DETERMINISTIC, root], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
                       text=True, check=True).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert len(said[0]) > 1000
    assert said[0] == said[1]


# ---- secrets


def test_secrets_in_odd_places(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd
    import polars as pl

    secret, odd = "correct-horse-battery-staple-9", 'line1\nline2"x'
    hide = Redactor(Secrets({}, lambda: [secret, odd]))
    values = [
        pd.DataFrame({"x" * 40 + secret: [1]}), pl.DataFrame({"a": pl.Series(["x"], dtype=pl.Enum(["x", secret]))}), {secret: 1}, [[odd]],
        json.dumps([odd]), pd.DataFrame({"a": [[secret]]}), pd.DataFrame({"a": [1]}, index=["y" * 30 + secret]), "z" * 14_980 + secret + "w" * 9000,
        ValueError(secret), Point(1, secret), pd.Categorical([secret]), (secret + " ") * 20_000,
        Execution(1, "x", "", (Output(((secret + " ") * 2000)[: MOST_OUTPUT + MARGIN]),)), Execution(1, "x", failed="x" * 480 + secret),
    ]  # fmt: skip
    for value in values:
        shown = "".join(f"{one}" for one in describe(value, Limits(hide=hide)))
        assert "correct-horse" not in shown, value
        assert "line2" not in shown, value
    assert hide.count >= 8


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY",
        "OPENAI_API_KEY",
        "token",
        "GITHUB_TOKEN",
        "DB_PASSWORD",
        "secret_2",
        "AWS_SECRET_ACCESS_KEY",
        "password",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["PWD", "OLDPWD", "HOME", "SSH_AUTH_SOCK", "KEYBOARD", "tokens_used_total", "monkey", "df", "keys", "passenger"],
)
def test_names_that_are_none(name: str) -> None:
    assert not is_secret_name(name)


def test_shapes_of_credentials_go_and_ordinary_text_stays() -> None:
    hide = Redactor(Secrets({}, lambda: ["four", "abc", "a longer secret"]))
    shapes = [
        "sk-ant-api03-" + "a" * 20, "sk_live_" + "a1" * 12, "xoxb-1234567890-abc", "AIza" + "x" * 35, "hf_" + "a" * 34,
        "eyJhbGciOiJI.eyJzdWIiOiIx.abc", "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "glpat-" + "a" * 20,
        "a longer secret",
    ]  # fmt: skip
    for shape in shapes:
        assert hide(f"before {shape} after") == "before [redacted] after", shape
    assert hide("four fourteen abc") == "[redacted] fourteen abc"
    assert hide('password = "x y"') == 'password = "[redacted]"'
    for literal in ("'it\\'s'", '"Tr0ub4dor\'s"', "b'bytes'", "'''three'''", "'hun\\\\ter'"):
        assert "[redacted]" in hide(f"db_password = {literal}"), literal
    assert hide("DB_PASSWORD=hunter2\nname: x\ntoken: abc\n") == "DB_PASSWORD=[redacted]\nname: x\ntoken: [redacted]\n"
    assert hide("def f(password: str, token: int) -> None: ...") == "def f(password: str, token: int) -> None: ..."
    ordinary = "sk-learn task-force-of-the-risk https://example.org:8080/a@b skeleton AKIA eyJ sha256:0123456789abcdef"
    assert hide(ordinary) == ordinary
    assert "secret" not in repr(hide)
    for long in (
        "\n" * 100_000,
        " \n" * 50_000,
        "a" * 300_000,
        "token" * 60_000,
        "://" * 100_000,
        "sk-" * 100_000,
        "A_" * 150_000,
    ):
        assert hide(long) == long
