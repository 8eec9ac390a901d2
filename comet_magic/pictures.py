"""A figure or an image → an image block, at most so large, with a thumbnail as proof of what was sent.

Nothing is drawn anew on the screen: figures are asked for a PNG of themselves, as a notebook asks them.
"""

from __future__ import annotations

import base64
import io
from typing import Any

from .cards import Bounds, Description, type_name
from .errors import ConfigError
from .messages import Message
from .rasters import PDF, media_type, pixels

THUMBNAIL = 96  # pixels of its longest side
LARGEST = 5_000_000 * 3 // 4  # bytes, whose base64 is the lowest limit of those who resell the models


def is_picture(value: Any) -> bool:
    """Whether it is a figure or an image, of a library that is recognised without being imported."""
    return _painter(value) is not None


def picture(value: Any, bounds: Bounds) -> Description:
    """Raises: ConfigError where it cannot be made an image."""
    bounds.refuse_values(f"a picture ({type_name(value)})")
    painter = _painter(value)
    assert painter is not None
    return image(painter(value, bounds.image_pixels), type_name(value), bounds)


def image(content: bytes, kind: str, bounds: Bounds) -> Description:
    """From the bytes of a PNG, JPEG, GIF or WebP. Raises: ConfigError where it is too large and cannot be scaled."""
    bounds.refuse_values(f"a picture ({kind})")
    media, size = media_type(content), pixels(content)
    if media is None or media == PDF or size is None:
        raise ConfigError(f"this is no PNG, JPEG, GIF or WebP image ({kind})", "nothing was sent")
    if max(size) > bounds.image_pixels or len(content) > LARGEST:
        content = _scaled(content, bounds.image_pixels)
        media, size = str(media_type(content)), pixels(content) or size
    source = {"type": "base64", "media_type": media, "data": base64.b64encode(content).decode()}
    block: Any = {"type": "image", "source": source}
    label = f"{media.removeprefix('image/').upper()} {size[0]}×{size[1]}"
    return Description(kind, label, label, (block,))


# ---- how each library paints


def _painter(value: Any) -> Any:
    home = type(value).__module__.split(".")[0]
    if hasattr(value, "savefig") and hasattr(value, "get_size_inches"):
        return _matplotlib
    if hasattr(value, "get_figure") and hasattr(value, "plot"):  # axes
        return lambda axes, most: _matplotlib(axes.get_figure(), most)
    if home == "seaborn" and hasattr(value, "figure"):
        return lambda grid, most: _matplotlib(grid.figure, most)
    if home in ("plotly", "_plotly_utils") and hasattr(value, "to_image"):
        return _plotly
    if home == "altair" and hasattr(value, "to_dict"):
        return _altair
    if home == "PIL" and hasattr(value, "save") and hasattr(value, "size"):
        return lambda picture, most: _png(picture, most)
    if home == "IPython" and type(value).__name__ == "Image":
        return _displayed
    if isinstance(value, bytes | bytearray | memoryview) and (media_type(bytes(value[:16])) or PDF) != PDF:
        return lambda content, most: bytes(content)
    return None


def _matplotlib(figure: Any, most: int) -> bytes:
    dpi = min(float(figure.dpi), most / max(figure.get_size_inches()))
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=dpi)
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


def _displayed(shown: Any, most: int) -> bytes:
    """Of an `IPython.display.Image`."""
    content = shown.data
    if content is None:
        raise ConfigError(
            "this Image is only an address in the network, and nothing is fetched for a prompt",
            "Image(url, embed=True) holds the picture itself; nothing was sent",
        )
    return content.encode() if isinstance(content, str) else bytes(content)


# ---- Pillow's part


def _scaled(content: bytes, most: int) -> bytes:
    with _pillow().open(io.BytesIO(content)) as opened:
        return _png(opened, most)


def _png(picture: Any, most: int) -> bytes:
    """As PNG, scaled down to `most` pixels; as JPEG, and smaller still, where that is more than endpoints take."""
    smaller = picture.copy() if picture.mode in ("L", "RGB", "RGBA") else picture.convert("RGBA")
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
    """Of a message's pictures: a data: address each."""
    sources = [block["source"] for block in message.content if block.get("type") == "image"]
    return tuple(_thumbnail(base64.b64decode(source["data"])) for source in sources if "data" in source)


def _thumbnail(content: bytes) -> str:
    """A data: address; an empty one without Pillow, where the picture is not small enough itself."""
    if len(content) > 3000:
        try:
            pillow = _pillow()
        except ConfigError:
            return ""
        with pillow.open(io.BytesIO(content)) as opened:
            content = _png(opened, THUMBNAIL)
    return f"data:{media_type(content)};base64,{base64.b64encode(content).decode()}"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ConfigError(
            "this picture is larger than image_pixels, and Pillow, which scales it, is not installed",
            "pip install pillow; nothing was sent",
        ) from None
    return Image
