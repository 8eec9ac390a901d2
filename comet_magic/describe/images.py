"""A figure or an image → an image block, at most so large, with a thumbnail as proof of what was sent.

Nothing is drawn anew on the screen: figures are asked for a PNG of themselves, as a notebook asks them.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ..errors import ConfigError
from ..messages.image_size import PDF, media_type, pixels
from ..messages.message import Message
from .dependencies import has, home, type_name
from .description import Description, Limits

ORIENTATION = 274  # the tag of EXIF
NEARLY = 1.05  # times as large, up to which a picture is not drawn again
THUMBNAIL = 360  # pixels of its longest side; so many that labels can be read
THUMBNAIL_COLOURS = 64  # few, as it stays in the notebook's file
LARGEST = 5_000_000 * 3 // 4  # bytes, whose base64 is the lowest limit of those who resell the models


def is_picture(value: Any) -> bool:
    """Return whether it is a figure or an image, of a library that is recognised without being imported."""
    return _painter(value) is not None


def picture(value: Any, limits: Limits) -> Description:
    """Raises: ConfigError where it cannot be made an image."""
    limits.refuse_values(f"a picture ({type_name(value)})")
    painter = _painter(value)
    assert painter is not None
    if painter in (_matplotlib, _part) and not _shows_something(_figure_of(value)):
        return Description(type_name(value), "an empty figure: it has no axes", is_value=True)
    return image(painter(value, limits.image_pixels), type_name(value), limits)


def image(content: bytes, kind: str, limits: Limits) -> Description:
    """Describe the bytes of a PNG, JPEG, GIF or WebP. Raises: ConfigError where they are none, or damaged."""
    limits.refuse_values(f"a picture ({kind})")
    media, size = media_type(content), pixels(content)
    if media is None or media == PDF or size is None or not all(size):
        raise ConfigError(f"this is not a PNG, JPEG, GIF or WebP image ({kind})", "nothing was sent")
    is_large = max(size) > limits.image_pixels or len(content) > LARGEST
    if is_large or _is_turned(content):
        content = _scaled(content, limits.image_pixels)
        media, size = str(media_type(content)), pixels(content) or size
    source = {"type": "base64", "media_type": media, "data": base64.b64encode(content).decode()}
    block: Any = {"type": "image", "source": source}
    label = f"{media.removeprefix('image/').upper()} {size[0]}×{size[1]}"
    return Description(kind, label, label, (block,))


# ---- how each library paints


def _painter(value: Any) -> Any:
    if has(value, "savefig", "get_size_inches"):
        return _matplotlib
    if _is_part(value):
        return _part
    if _is_artist(value):
        return lambda artist, most: _matplotlib(_figure_of(artist), most)
    if home(value) == "seaborn" and has(value, "figure"):
        return lambda grid, most: _matplotlib(grid.figure, most)
    if home(value) in ("plotly", "_plotly_utils") and has(value, "to_image"):
        return _plotly
    if home(value) == "altair" and has(value, "to_dict"):
        return _altair
    if home(value) == "PIL" and has(value, "save", "size"):
        return lambda picture, most: _png(picture, most)
    if home(value) == "IPython" and type(value).__name__ == "Image":
        return _displayed
    if isinstance(value, bytes | bytearray):
        if (media_type(bytes(value[:16])) or PDF) != PDF:
            return lambda content, most: bytes(content)
        return (lambda content, most: as_png(bytes(content), most)) if is_other_picture(value) else None
    if axes := _axes_in(value):  # of plt.subplots() and df.hist()
        return lambda _, most: _matplotlib(_figure_of(axes[0]), most)
    return None


def _axes_in(value: Any) -> list[Any]:
    """Return the axes in an array, a list or a tuple, or in a figure and its axes; [] for other things."""
    parts = _parts(value)
    if parts and isinstance(value, tuple) and has(parts[0], "savefig"):
        parts = [inner for part in parts[1:] for inner in _parts(part) or [part]]
    return parts if parts and all(_is_part(part) or _is_artist(part) for part in parts) else []


def _parts(value: Any) -> list[Any]:
    """Return the first hundred things in a list, a tuple, or an array of things."""
    if has(value, "flat", "dtype"):
        return list(islice(value.flat, 100)) if str(value.dtype) == "object" else []
    return list(value[:100]) if isinstance(value, list | tuple) else []


def _is_part(value: Any) -> bool:
    """Return whether it is axes, of any toolkit, or a figure in a figure."""
    return _is_artist(value) and (has(value, "plot") or has(value, "subplots"))


def _is_artist(value: Any) -> bool:
    """Return whether it is something in a figure of matplotlib's, such as the lines that `plot` returns."""
    is_drawn = has(value, "get_figure", "draw") and not has(value, "savefig")
    return is_drawn and any(kind.__module__.startswith("matplotlib.") for kind in type(value).__mro__)


def _shows_something(figure: Any) -> bool:
    return bool(
        figure.axes or figure.texts or figure.images or figure.lines or figure.patches or figure.legends
    ) or bool(getattr(figure, "subfigs", ()))


def _part(part: Any, most: int) -> bytes:
    """Return one of several axes: what it covers of its figure."""
    figure = _figure_of(part)
    if len(figure.axes) < 2 or not has(part, "get_tightbbox"):
        return _matplotlib(figure, most)
    inches = part.get_tightbbox().transformed(figure.dpi_scale_trans.inverted())
    return _matplotlib(figure, most, bbox_inches=inches)


def _figure_of(part: Any) -> Any:
    while has(part, "get_figure") and not has(part, "savefig"):
        part = part.get_figure()
        if part is None:
            raise ConfigError("this part of a figure is in no figure any more", "nothing was sent; draw it anew")
    return part


def _matplotlib(figure: Any, most: int, bbox_inches: Any = "tight") -> bytes:
    """Draw it as a notebook shows it: with all that lies outside of it, as a legend may."""
    dpi = min(float(figure.dpi), most / max(figure.get_size_inches()))
    content = _drawn(figure, dpi, bbox_inches)
    longest = max(pixels(content) or (most,))
    wanted = min(
        float(figure.dpi), dpi * most / (longest + 1)
    )  # what was cut off leaves room, what lies outside takes it
    return _drawn(figure, wanted, bbox_inches) if longest > most or wanted > dpi * NEARLY else content


def _drawn(figure: Any, dpi: float, bbox_inches: Any) -> bytes:
    written = io.BytesIO()
    colours = {"facecolor": figure.get_facecolor(), "edgecolor": figure.get_edgecolor()}
    figure.savefig(written, format="png", dpi=dpi, bbox_inches=bbox_inches, **colours)
    return written.getvalue()


def _plotly(figure: Any, most: int) -> bytes:
    try:
        return bytes(figure.to_image(format="png"))
    except (ValueError, RuntimeError, ImportError) as error:
        raise ConfigError(
            f"plotly could not make an image of its figure: {str(error).strip().splitlines()[0]}",
            "pip install kaleido, and a Chrome, do that; nothing was sent",
        ) from error


def _altair(chart: Any, most: int) -> bytes:
    written = io.BytesIO()
    try:
        chart.save(written, format="png")
    except ImportError as error:
        raise ConfigError(
            "altair needs vl-convert to make an image of a chart", "pip install vl-convert-python; nothing was sent"
        ) from error
    return written.getvalue()


def _displayed(image_object: Any, most: int) -> bytes:
    """Return the bytes of an `IPython.display.Image`."""
    content = image_object.data
    if content is None:
        raise ConfigError(
            "this Image is only an address in the network, and nothing is fetched for a prompt",
            "Image(url, embed=True) holds the picture itself; nothing was sent",
        )
    return content.encode() if isinstance(content, str) else bytes(content)


# ---- Pillow's part


def _is_turned(content: bytes) -> bool:
    """Return whether its pixels lie otherwise than it is shown, as in photographs; a model sees the pixels.

    Raises: ConfigError for a picture that is damaged. Without Pillow, none is known to be.
    """
    try:
        pillow = _pillow()
    except ConfigError:
        return False
    with _opened(content, pillow) as opened:
        return bool(opened.getexif().get(ORIENTATION, 1) != 1)


def is_other_picture(content: bytes | bytearray) -> bool:
    """Return whether it is a BMP or a TIFF, which no model takes."""
    is_bmp = content[:2] == b"BM" and int.from_bytes(content[2:6], "little") == len(content)
    return is_bmp or content[:4] in (b"II*\0", b"MM\0*")


def as_png(content: bytes, most: int) -> bytes:
    """Return a picture of any kind that Pillow reads as a PNG. Raises: ConfigError where it is damaged."""
    return _scaled(content, most)


def _scaled(content: bytes, most: int) -> bytes:
    from PIL import ImageOps

    with _opened(content, _pillow()) as opened:
        return _png(ImageOps.exif_transpose(opened), most)


@contextmanager
def _opened(content: bytes, pillow: Any) -> Iterator[Any]:
    try:
        with pillow.open(io.BytesIO(content)) as opened:
            opened.load()
            yield opened
    except ConfigError:
        raise
    except Exception as error:  # Pillow has a good many for pictures that are damaged
        raise ConfigError(f"the picture cannot be read: {error}", "nothing was sent") from error


def _png(picture: Any, most: int) -> bytes:
    """Save as PNG, scaled down to `most` pixels; as a smaller JPEG where that is more than endpoints take."""
    smaller = picture.copy()
    if picture.mode.startswith(("I", "F")):  # of a range that is not 0 to 255
        low, high = picture.getextrema()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ConfigError("the picture has pixels that are not finite numbers", "nothing was sent")
        scale = 255 / (high - low) if high > low else 0
        smaller = picture.convert("F").point(lambda value: value * scale - low * scale).convert("L")
    elif picture.mode not in ("L", "RGB", "RGBA"):
        smaller = picture.convert("RGBA")
    smaller.thumbnail((most, most))
    content = _saved(smaller, "PNG")
    while len(content) > LARGEST:
        smaller = smaller.convert("RGB")
        content = _saved(smaller, "JPEG")
        smaller.thumbnail((smaller.width * 3 // 4, smaller.height * 3 // 4))
    return content


def _saved(picture: Any, kind: str) -> bytes:
    written = io.BytesIO()
    picture.save(written, format=kind)
    return written.getvalue()


def thumbnails(message: Message) -> tuple[str, ...]:
    """Return a data: address for each of a message's pictures."""
    sources = [block["source"] for block in message.content if block.get("type") == "image"]
    return tuple(_thumbnail(base64.b64decode(source["data"])) for source in sources if "data" in source)


def _thumbnail(content: bytes) -> str:
    """Return a data: address; "" where none can be made: by then the picture may have been sent and paid for."""
    if len(content) > 3000:
        try:
            with _opened(content, _pillow()) as opened:
                opened.draft("RGB", (THUMBNAIL, THUMBNAIL))
                opened.thumbnail((THUMBNAIL, THUMBNAIL))
                content = _saved(_few_colours(opened.convert("RGBA")), "PNG")
        except ConfigError:
            return ""
    return f"data:{media_type(content)};base64,{base64.b64encode(content).decode()}"


def _few_colours(picture: Any) -> Any:
    from PIL import Image

    white = Image.new("RGBA", picture.size, "white")  # what is transparent shows a page
    white.alpha_composite(picture)
    return white.convert("RGB").quantize(THUMBNAIL_COLOURS)


def as_image(content: bytes) -> Any:
    """Return a picture as an image of Pillow. Raises: ConfigError where Pillow is not installed, or cannot read it."""
    try:
        pillow = _pillow()
    except ConfigError:
        raise ConfigError("Pillow, which opens pictures, is not installed", "%pip install pillow") from None
    with _opened(content, pillow) as opened:
        return opened.copy()


def preview(content: bytes, most: int) -> bytes | None:
    """Return a PNG or a small JPEG of a picture, of `most` pixels; None without Pillow, or where it cannot read it."""
    try:
        with _opened(content, _pillow()) as opened:
            opened.thumbnail((most, most))
            has_alpha = "A" in opened.mode or "transparency" in opened.info
            return _saved(opened.convert("RGBA"), "PNG") if has_alpha else _saved(opened.convert("RGB"), "JPEG")
    except ConfigError:
        return None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ConfigError(
            "this picture is larger than image_pixels, and Pillow, which scales it, is not installed",
            "pip install pillow; nothing was sent",
        ) from None
    return Image
