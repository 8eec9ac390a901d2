"""Ask Claude in a notebook: `%load_ext comet_magic`, then `%%claude`; or `comet_magic.ask("…")` in plain Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import VERSION as __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from . import conversations, describe, tools
    from .asking import ask
    from .embedding import embed
    from .errors import APIError, CometError, ConfigError, ReplyError, ToolError, TransportError
    from .generating import image, jobs, music, resume, speech, transcribe, video
    from .mapping import map as map
    from .media.media import Media
    from .messages.message import Message
    from .messages.request import Request
    from .messages.usage import Usage
    from .notebook.panel import panel
    from .rows.result import Run
    from .settings import CometSettings
    from .tools.functions import tool
    from .tools.servers import mcp

    last: Message | None
    last_run: Run | None

# The module of each name; looked up on first use, so that loading the extension costs next to nothing.
_MODULES = {
    "APIError": "errors",
    "CometError": "errors",
    "CometSettings": "settings",
    "ConfigError": "errors",
    "Media": "media.media",
    "Message": "messages.message",
    "ReplyError": "errors",
    "Request": "messages.request",
    "ToolError": "errors",
    "TransportError": "errors",
    "Usage": "messages.usage",
    "ask": "asking",
    "embed": "embedding",
    "image": "generating",
    "jobs": "generating",
    "map": "mapping",
    "mcp": "tools.servers",
    "music": "generating",
    "panel": "notebook.panel",
    "resume": "generating",
    "speech": "generating",
    "tool": "tools.functions",
    "transcribe": "generating",
    "video": "generating",
}

# Without `map`: `from comet_magic import *` is not to hide Python's own.
__all__ = [
    "APIError",
    "CometError",
    "CometSettings",
    "ConfigError",
    "Media",
    "Message",
    "ReplyError",
    "Request",
    "ToolError",
    "TransportError",
    "Usage",
    "__version__",
    "ask",
    "conversations",
    "describe",
    "embed",
    "image",
    "jobs",
    "last",
    "last_run",
    "load_ipython_extension",
    "mcp",
    "music",
    "panel",
    "resume",
    "speech",
    "tool",
    "tools",
    "transcribe",
    "unload_ipython_extension",
    "video",
]


def __getattr__(name: str) -> Any:
    if name == "last":
        return import_module(".exchange.session", __name__).current().latest
    if name == "last_run":
        return import_module(".exchange.session", __name__).current().latest_run
    if name in ("conversations", "describe", "tools"):
        return import_module(f".{name}", __name__)
    if name in _MODULES:
        value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    from .notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    from .notebook.extension import unload

    unload(ipython)
