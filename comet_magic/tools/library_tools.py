"""The tools of LangChain and LlamaIndex, known by their shape: neither library is imported.

Sources: `BaseTool` of langchain_core/tools/base.py; `BaseTool` and `FunctionTool` of llama_index/core/tools.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..describe.dependencies import has, home
from ..errors import ConfigError
from ..text import exception_text

LANGCHAIN, LLAMAINDEX = "LangChain", "LlamaIndex"


class LibraryTool(NamedTuple):
    """A tool as its library describes it.

    schema: JSON Schema of the arguments that a model may give.        run: takes them by name.
    function: the user's own that it runs; None where it does not tell.        is_async: it can only be awaited.
    """

    name: str
    description: str
    schema: dict[str, Any]
    run: Callable[..., Any]
    function: Any = None
    is_async: bool = False


def library_of(value: object) -> str:
    """Return the library whose tool a value is, by the attributes of its class; "" for other things."""
    if issubclass(type(value), type):
        return ""
    if has(value, "tool_call_schema", "invoke"):
        return LANGCHAIN
    if has(value, "metadata", "call") and hasattr(_metadata(value), "get_parameters_dict"):
        return LLAMAINDEX
    return ""


def library_tool(tool: Any) -> LibraryTool:
    """Return what a tool of either library says of itself. Raises: ConfigError where it cannot say it."""
    try:
        return _of_langchain(tool) if library_of(tool) == LANGCHAIN else _of_llamaindex(tool)
    except Exception as error:  # both build it from the user's own types
        raise ConfigError(
            f"a tool of {library_of(tool)} does not say what it takes: {type(error).__name__}: {exception_text(error)}",
            "nothing was sent; write a function around it",
        ) from error


def _of_langchain(tool: Any) -> LibraryTool:
    # Not `args_schema`: it shows the model what the program itself gives, such as a user's id.
    schema = _json_schema(tool.tool_call_schema)
    function, coroutine = getattr(tool, "func", None), getattr(tool, "coroutine", None)

    def run(**arguments: Any) -> Any:
        return tool.invoke(arguments)

    is_async = hasattr(type(tool), "model_fields") and function is None and coroutine is not None
    return LibraryTool(str(tool.name), str(tool.description or ""), _closed(schema), run, function, is_async)


def _of_llamaindex(tool: Any) -> LibraryTool:
    metadata = tool.metadata
    function = getattr(tool, "real_fn", None) or getattr(tool, "fn", None)
    if getattr(tool, "requires_context", False):
        raise TypeError("it needs a workflow's context, which there is none of here")

    def run(**arguments: Any) -> Any:
        output = tool.call(**arguments)
        if getattr(output, "is_error", False):
            raise RuntimeError(str(getattr(output, "content", output)))
        value = getattr(output, "raw_output", output)
        # A response or a document of the library's own says more as its text than as its fields.
        return str(getattr(output, "content", value)) if home(value) == "llama_index" else value

    schema = _closed(dict(metadata.get_parameters_dict()))
    is_async = inspect.iscoroutinefunction(function)
    return LibraryTool(str(metadata.name or ""), str(metadata.description or ""), schema, run, function, is_async)


def _metadata(value: Any) -> Any:
    try:
        return value.metadata
    except Exception:  # noqa: BLE001  # a property of somebody's class
        return None


def _json_schema(schema: Any) -> dict[str, Any]:
    """Return the JSON Schema of a class of pydantic's, of either major version, or a schema that is one already."""
    if isinstance(schema, Mapping):
        return dict(schema)
    write = schema.model_json_schema if hasattr(schema, "model_json_schema") else schema.schema
    return dict(write())


_SAYS_WHAT_ELSE = ("additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf", "oneOf")


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with no field allowed that it does not name, unless it says itself which are.

    The library would take one: a model could give what only the program is to give.
    """
    schema = {name: part for name, part in schema.items() if name not in ("title", "description")}
    schema = {"type": "object", "properties": {}, **schema}
    return schema if any(name in schema for name in _SAYS_WHAT_ELSE) else {**schema, "additionalProperties": False}
