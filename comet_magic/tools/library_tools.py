"""The tools of LangChain and LlamaIndex, known by their shape: neither library is imported.

Sources: `BaseTool` of langchain_core/tools/base.py; `BaseTool` and `FunctionTool` of llama_index/core/tools.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..describe.dependencies import has, home
from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..text import exception_text

LANGCHAIN, LLAMAINDEX = "LangChain", "LlamaIndex"
ONE_INPUT = "tool_input"


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
    """Return what a tool of either library says of itself. Raises: ConfigError where it cannot be used from here."""
    try:
        return _of_langchain(tool) if library_of(tool) == LANGCHAIN else _of_llamaindex(tool)
    except ConfigError:
        raise
    except Exception as error:  # both build it from the user's own types
        raise ConfigError(
            f"a tool of {library_of(tool)} does not say what it takes: {type(error).__name__}: {exception_text(error)}",
            "nothing was sent; write a function around it",
        ) from error


def _of_langchain(tool: Any) -> LibraryTool:
    name, function, coroutine = str(tool.name), getattr(tool, "func", None), getattr(tool, "coroutine", None)
    is_async = (function is None and coroutine is not None) or inspect.iscoroutinefunction(function)
    if getattr(tool, "args_schema", None) is None and set(getattr(tool, "args", ())) == {ONE_INPUT}:
        # LangChain's oldest kind, which takes one text; its schema is of the parameters of its own methods.
        schema: dict[str, Any] = {"properties": {ONE_INPUT: {"type": "string"}}, "required": [ONE_INPUT]}
    else:
        # Not `args_schema`: it shows the model what the program itself gives, such as a user's id.
        schema = _json_schema(tool.tool_call_schema)
        if needed := _needed(tool) - set(schema.get("properties", ())):
            what = f"{name} needs {', '.join(sorted(needed))}, which only a program of LangChain's gives it"
            raise ConfigError(what, "nothing was sent; write a function around it")

    def run(**arguments: Any) -> Any:
        return tool.invoke(arguments)

    return LibraryTool(name, str(tool.description or ""), _closed(schema), run, function, is_async)


def _needed(tool: Any) -> set[str]:
    """Return the arguments that the tool cannot do without, the model's and the program's."""
    fields = getattr(getattr(tool, "args_schema", None), "model_fields", None) or {}
    return {getattr(field, "alias", None) or name for name, field in fields.items() if field.is_required()}


def _of_llamaindex(tool: Any) -> LibraryTool:
    metadata = tool.metadata
    function = getattr(tool, "real_fn", None) or getattr(tool, "fn", None)
    if getattr(tool, "requires_context", False):
        what = f"{metadata.name} needs the context of a LlamaIndex workflow"
        raise ConfigError(what, "nothing was sent; write a function around it")

    def run(**arguments: Any) -> Any:
        return _llamaindex_value(tool.call(**arguments))

    schema = _closed(dict(metadata.get_parameters_dict()))
    is_async = inspect.iscoroutinefunction(function)
    return LibraryTool(str(metadata.name or ""), str(metadata.description or ""), schema, run, function, is_async)


def _llamaindex_value(output: Any) -> Any:
    """Return what a tool gave: the value itself, or the text that the library makes of it, where that is another.

    Raises: RuntimeError where it says that it failed.
    """
    content, value = getattr(output, "content", None), getattr(output, "raw_output", output)
    if home(value) == "llama_index" and hasattr(value, "raw_output"):
        return _llamaindex_value(value)
    if getattr(output, "is_error", False):
        raise RuntimeError(str(value if content is None else content))
    return value if content is None or content == str(value) else content


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
