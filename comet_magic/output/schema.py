"""A Python type, or a function's signature → its JSON Schema, and the reading of JSON by it. The door to pydantic.

pydantic and jsonschema come with the extra `values`, and are imported when a type or a tool is first named.
"""

from __future__ import annotations

import functools
import inspect
import json
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urldefrag, urljoin

from ..errors import ConfigError

INSTALL = "pip install '.[values]'"
MOST_PROBLEMS = 5
# What the provider's structured outputs take no part of; validation holds it all the same.
_BOUNDS = frozenset(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern minItems maxItems"
    " uniqueItems minContains maxContains contains minProperties maxProperties propertyNames".split()
)


_MEANS_SOMETHING = frozenset("type $ref anyOf oneOf allOf not enum const properties items required".split())


class Mismatch(Exception):
    """JSON that is not of the form. Its text says where and why, for the model and for the user."""


@dataclass(frozen=True)
class Schema:
    """json: the JSON Schema.        read: from what `json.loads` gives to the value; raises Mismatch."""

    json: dict[str, Any]
    read: Callable[[Any], Any]


def schema_of(kind: Any, name: str) -> Schema:
    """Return the schema of a type, or of a JSON Schema that is given as such. name: what to call it in errors.

    Raises: ConfigError when no JSON can be read as it.
    """
    if isinstance(kind, Mapping):
        return _of_json_schema(dict(kind), name)
    pydantic = _pydantic()
    if inspect.isroutine(kind):  # pydantic would call it
        raise _unusable(name, TypeError("a function is not a type"))
    try:
        adapter = pydantic.TypeAdapter(_modern(kind))
        schema = adapter.json_schema(schema_generator=_quiet(pydantic))
    except Exception as error:  # what is no type fails in many ways
        raise _unusable(name, error) from error
    if _has_model(kind):  # which says itself how strictly it is to be read
        return Schema(schema, _reader(adapter.validate_json, is_strict=None))
    read = _reader(adapter.validate_json)
    if (closed := strict(schema)) is None:
        return Schema(schema, read)
    problems_of = _validator(closed, name)

    def checked(value: Any) -> Any:
        made = read(value)  # in which a dataclass passes over what it has no field for
        _refuse(error for error in problems_of(value) if error.validator == "additionalProperties")
        return made

    return Schema(schema, checked)


def _has_model(kind: Any) -> bool:
    return hasattr(kind, "model_fields") or any(map(_has_model, typing.get_args(kind)))


def _of_json_schema(schema: dict[str, Any], name: str) -> Schema:
    problems_of = _validator(schema, name)

    def read(value: Any) -> Any:
        try:
            _refuse(problems_of(value))
        except RecursionError:
            raise Mismatch("it is nested too deeply") from None
        return value

    return Schema(schema, read)


def _refuse(errors: Iterable[Any]) -> None:
    """Raises: Mismatch where jsonschema has found any."""
    if problems := [f"{_path(error.absolute_path)}{error.message}" for error in errors]:
        raise Mismatch(_joined(problems))


def _validator(schema: dict[str, Any], name: str) -> Callable[[Any], Iterable[Any]]:
    """Return what is wrong with a value, error by error. Raises: ConfigError when the schema is none."""
    try:
        import jsonschema
    except ImportError:
        raise ConfigError("a JSON Schema is checked with jsonschema, which is not installed", INSTALL) from None
    if not schema.keys() & _MEANS_SOMETHING:
        raise ConfigError(f"{name} is not a JSON Schema: it names no type", "nothing was sent; {'type': 'object', …}")
    try:
        written = sum(map(len, islice(json.JSONEncoder().iterencode(schema), LARGEST_SCHEMA)))
        if written >= LARGEST_SCHEMA:
            raise ConfigError(f"{name} is larger than {LARGEST_SCHEMA // 1000:,} kB", "nothing was sent")
        _check_stays_here(schema, name)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except ConfigError:
        raise
    except Exception as error:  # a schema may be anything
        raise ConfigError(f"{name} is not a JSON Schema: {_first_line(error)}", "nothing was sent") from error
    steps = [0]
    checks = {word: _counted(check, steps) for word, check in {**kind.VALIDATORS, **_bounded(schema, name)}.items()}
    try:
        # A registry of its own: jsonschema's default one fetches what a $ref names.
        validator = jsonschema.validators.extend(kind, checks)(schema, registry=_empty_registry())
        list(validator.iter_errors(None))
    except Exception as error:  # a $ref that leads nowhere, or round and round
        raise ConfigError(f"{name} is not a JSON Schema: {_first_line(error)}", "nothing was sent") from error

    def problems(value: Any) -> list[Any]:
        steps[0] = 0
        try:
            return list(islice(validator.iter_errors(value), MOST_PROBLEMS + 1))
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001  # a $ref that leads nowhere, where only this value leads
            raise Mismatch(f"the schema cannot be followed: {_first_line(error)}") from None

    return problems


MOST_STEPS = 200_000  # of a check; references to references take twice as many with each
LARGEST_SCHEMA = 1_000_000  # characters


def _counted(check: Callable[..., Any], steps: list[int]) -> Callable[..., Iterator[Any]]:
    """Return a check of one keyword that counts how often it is asked."""

    def counted(*arguments: Any) -> Iterator[Any]:
        steps[0] += 1
        if steps[0] > MOST_STEPS:
            raise ValueError(f"it takes more than {MOST_STEPS:,} steps")
        yield from check(*arguments) or ()

    return counted


def _empty_registry() -> Any:
    from referencing import Registry

    return Registry()


_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def _check_stays_here(schema: dict[str, Any], name: str) -> None:
    """Raises: ConfigError where the schema points to another document, which reading it would fetch."""
    own = {urldefrag(part["$id"])[0] for part in _objects(schema) if isinstance(part.get("$id"), str)}
    own |= {urljoin(base, other) for base in own for other in own}
    for part in _objects(schema):
        for reference in (part[word] for word in _REFERENCES if isinstance(part.get(word), str)):
            target = urldefrag(reference)[0]
            if target and not {target, *(urljoin(base, target) for base in own)} & own:
                raise ConfigError(
                    f"{name} points to another document, {reference!r}, and nothing is fetched",
                    "nothing was sent; put what it points to under $defs",
                )


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    todo = [schema]
    seen: set[int] = set()
    while todo:
        part = todo.pop()
        if id(part) in seen and isinstance(part, dict | list):
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            yield part
        todo += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()


def _bounded(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return checks that take no more time than in proportion to the value, in place of those that may.

    Raises: ConfigError for a pattern that it cannot take.
    """
    from pydantic_core import SchemaError

    parts = list(_objects(schema))
    has_names = any("patternProperties" in part for part in parts)
    for part in parts:
        names = part.get("patternProperties")
        for pattern in (part.get("pattern"), *(names if isinstance(names, dict) else ())):
            try:
                if isinstance(pattern, str):
                    _matcher_for(pattern)
            except SchemaError as error:
                raise ConfigError(
                    f"{name}: the pattern {pattern!r} cannot be checked in a bounded time",
                    "nothing was sent; leave out what looks ahead or behind, and back-references",
                ) from error
    if has_names and any("unevaluatedProperties" in part for part in parts):
        raise ConfigError(
            f"{name} has patternProperties and unevaluatedProperties, which are not checked in a bounded time",
            "nothing was sent; use additionalProperties",
        )
    checks = {"pattern": _check_pattern, "patternProperties": _check_names, "uniqueItems": _check_unique}
    return {**checks, "additionalProperties": _check_others} if has_names else checks


@functools.lru_cache(maxsize=256)
def _matcher_for(pattern: str) -> Callable[[str], bool]:
    """Return whether a pattern is found in a text, by an engine whose time is in proportion to the text.

    Raises: pydantic_core.SchemaError for a pattern that it does not take.
    """
    from pydantic_core import SchemaValidator, ValidationError

    validate = SchemaValidator({"type": "str", "pattern": pattern}).validate_python

    def matches(text: str) -> bool:
        try:
            validate(text)
        except ValidationError:
            return False
        return True

    return matches


# Checks as jsonschema calls them: its validator, the keyword's value, the value that is checked, the schema around it.


def _check_pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _matcher_for(pattern)(value):
        yield _not_valid(f"{value!r} does not match {pattern!r}")


def _check_names(validator: Any, patterns: dict[str, Any], value: Any, schema: Any) -> Iterator[Any]:
    for pattern, part in patterns.items() if isinstance(value, dict) else ():
        for key in filter(_matcher_for(pattern), value):
            yield from validator.descend(value[key], part, path=key, schema_path=pattern)


def _check_others(validator: Any, part: Any, value: Any, schema: Any) -> Iterator[Any]:
    matchers = [_matcher_for(pattern) for pattern in schema.get("patternProperties", ())]
    known = schema.get("properties", {})
    for key in value if isinstance(value, dict) else ():
        if key in known or any(matches(key) for matches in matchers):
            continue
        if part is False:
            yield _not_valid(f"Additional properties are not allowed ({key!r} was unexpected)")
        else:
            yield from validator.descend(value[key], part, path=key)


def _check_unique(validator: Any, part: Any, value: Any, schema: Any) -> Iterator[Any]:
    if part and isinstance(value, list):
        if len({json.dumps(_integral(item), sort_keys=True) for item in value}) < len(value):
            yield _not_valid("it has items that are not unique")


def _not_valid(message: str) -> Any:
    import jsonschema

    return jsonschema.ValidationError(message)


def signature_of(function: Callable[..., Any], name: str) -> Schema:
    """Return the schema of a function's parameters, as one object; it reads keyword arguments, checked and converted.

    Raises: ConfigError when the function has no signature, or a parameter of a type that no JSON is.
    """
    pydantic = _pydantic()
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(_plain(function), include_extras=True)
        hints_of = {key: _modern(hint) for key, hint in hints.items()}
    except Exception as error:  # a signature may name whatever it likes
        raise ConfigError(
            f"{name} cannot be a tool: {_first_line(error)}", "nothing was sent; write a function around it"
        ) from error
    fields = _fields(parameters, hints_of, name, pydantic)
    try:
        model = pydantic.create_model(
            name, __config__=pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
        )
        schema = model.model_json_schema(schema_generator=_quiet(pydantic))
    except (pydantic.PydanticUserError, NameError, TypeError) as error:
        raise _unusable(f"the signature of {name}", error) from error
    read = _reader(model.model_validate_json)
    given = {key: field.alias for key, field in model.model_fields.items()}

    def arguments(value: Any) -> dict[str, Any]:
        made = read(value)
        return {given[key]: getattr(made, key) for key in made.model_fields_set}

    schema.pop("description", None)
    return Schema({"properties": {}, **_without_titles(schema)}, arguments)


def _fields(
    parameters: Iterable[inspect.Parameter], hints_of: dict[str, Any], name: str, pydantic: Any
) -> dict[str, Any]:
    """Return the fields of a pydantic model that stands for a signature. Raises: ConfigError."""
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"{name} cannot be a tool: its parameter {parameter.name} has no name to be given by",
                "nothing was sent; leave the / out of its signature",
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        if number == 0 and parameter.name == "self":
            raise ConfigError(
                f"{name} cannot be a tool: it is a method of no object", "nothing was sent; name an object's"
            )
        kind = hints_of.get(parameter.name, Any)
        # Names of their own, for a model has methods that a parameter may be called like.
        fields[f"p{number}"] = (kind, pydantic.Field(default, alias=parameter.name, title=None))
    return fields


def _plain(function: Any) -> Any:
    """Return what has the annotations: of an object that can be called, its method."""
    function = getattr(function, "func", function)  # of a functools.partial
    if inspect.isclass(function):
        return function.__init__
    return function if hasattr(function, "__annotations__") or inspect.isroutine(function) else type(function).__call__


def _pydantic() -> Any:
    try:
        import pydantic
    except ImportError:
        raise ConfigError("types and tools are read with pydantic, which is not installed", INSTALL) from None
    return pydantic


def _quiet(pydantic: Any) -> Any:
    """Return a schema generator that leaves out a default which is no JSON, without a warning about it."""
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    return Quiet


def _reader(validate_json: Callable[..., Any], *, is_strict: bool | None = True) -> Callable[[Any], Any]:
    """Return what reads a value as JSON has it.

    An enum's value, a date's text and a tuple's list are taken, and a text is no number.
    """
    import pydantic

    def read(value: Any) -> Any:
        try:
            return validate_json(json.dumps(_integral(value)), strict=is_strict)
        except pydantic.ValidationError as error:
            messages = [f"{_path(one['loc'])}{one['msg']}{_got(one)}" for one in error.errors(include_url=False)]
            raise Mismatch(_joined(messages)) from None
        except Exception as error:  # a type's own checks raise what they like
            raise Mismatch(f"{type(error).__name__}: {error}") from error

    return read


def _integral(value: Any) -> Any:
    """Replace 3.0 by 3, which JSON does not tell apart; where a float is expected, it becomes one again."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return {name: _integral(item) for name, item in value.items()} if isinstance(value, dict) else value


def _got(error: Any) -> str:
    value = error["input"]
    return f" (got {json.dumps(value)[:80]})" if isinstance(value, str | int | float | bool | None) else ""


def _path(location: Any) -> str:
    """Return `items[2].price: ` from ("items", 2, "price")."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{path.lstrip('.')}: " if path else ""


def _joined(problems: list[str]) -> str:
    more = len(problems) - MOST_PROBLEMS
    return "; ".join([*problems[:MOST_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])])


def _unusable(name: str, error: Exception) -> ConfigError:
    what = re.sub(
        r"Unable to generate pydantic-core schema for (.*?)\. Set .*", r"\1 cannot be written as JSON", str(error)
    )
    return ConfigError(
        f"no JSON can be read as {name}: {what.splitlines()[0]}",
        "nothing was sent; use numbers, texts, dates, lists, dicts, Literal, Enum, dataclasses, TypedDicts, models",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _modern(kind: Any) -> Any:
    """Replace `typing.TypedDict`, which tells pydantic too little before Python 3.12, by the backport's."""
    if isinstance(kind, type) and type(kind).__module__ == "typing" and hasattr(kind, "__required_keys__"):
        from typing_extensions import NotRequired, TypedDict

        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {name: _modern(hint) for name, hint in hints.items()}
        needed = kind.__required_keys__
        return TypedDict(  # type: ignore[operator]  # the functional form, of fields known at run time
            kind.__name__, {name: hint if name in needed else NotRequired[hint] for name, hint in fields.items()}
        )
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if not arguments or origin is typing.Literal:
        return kind
    changed = tuple(_modern(argument) if _is_type(argument) else argument for argument in arguments)
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return kind
    if origin in (types.UnionType, typing.Union):
        return functools.reduce(operator.or_, changed)
    if hasattr(kind, "__metadata__"):
        arguments = (changed[0], *kind.__metadata__)
        return typing.Annotated[arguments]
    assert origin is not None
    return origin[changed]


def _is_type(argument: Any) -> bool:
    return isinstance(argument, type) or typing.get_origin(argument) is not None


# ---- for the wire


def lax_reader(kind: Any) -> Callable[[Any], Any]:
    """Reads what can be taken for one of `kind`, as a day for a time."""
    return _reader(_pydantic().TypeAdapter(kind).validate_json, is_strict=False)


def strict(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema as structured outputs take it; None where they cannot: an open object, a recursion.

    Source: its page on structured outputs. Bounds are left out of it, and hold when the reply is read.
    """
    try:
        closed = _closed(schema)
    except ValueError:
        return None
    return None if _is_recursive(schema) else closed


def _closed(schema: Any, *, is_names: bool = False) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if is_names:
        return {name: _closed(part) for name, part in schema.items()}
    plain = {
        name: part if name in ("enum", "const", "default", "required") else
        _closed(part, is_names=name in ("properties", "$defs", "definitions"))
        for name, part in schema.items()
        if name not in _BOUNDS and name != "title"
    }  # fmt: skip
    if plain.get("type") == "object" or "properties" in plain:
        if plain.get("additionalProperties", False) is not False or "properties" not in plain:
            raise ValueError("an open object")
        plain["additionalProperties"] = False
    elif not plain.keys() - {"description", "default"}:
        raise ValueError("anything at all")
    return plain


def _is_recursive(schema: dict[str, Any]) -> bool:
    parts = {**schema.get("$defs", {}), **schema.get("definitions", {})}
    leads = {
        name: set(re.findall(r'"#/(?:\$defs|definitions)/([^"]+)"', json.dumps(part))) for name, part in parts.items()
    }
    for start in leads:
        seen: set[str] = set()
        todo = set(leads[start])
        while todo:
            name = todo.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                todo |= leads.get(name, set())
    return '"#"' in json.dumps(schema)


def _without_titles(schema: Any, *, is_names: bool = False) -> Any:
    """Return a schema without its titles, which only say the names once more."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: part if name in ("enum", "const", "default") else
        _without_titles(part, is_names=not is_names and name in ("properties", "$defs"))
        for name, part in schema.items()
        if is_names or ((name != "title" or not isinstance(part, str)) and (name != "default" or _is_json(part)))
    }  # fmt: skip


def _is_json(value: Any) -> bool:
    """Return whether JSON can say it: of a default, infinity it cannot."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def plain_json(schema: dict[str, Any]) -> dict[str, Any]:
    return dict(_without_titles(schema))


def without_optional_nulls(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """Return a value without the nulls in fields that a schema does not require, and that may be no null."""
    root = schema if root is None else root
    schema = _resolved(schema, root)
    if isinstance(value, list):
        items = schema.get("items")
        return [without_optional_nulls(item, items, root) for item in value] if isinstance(items, Mapping) else value
    fields = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(fields, Mapping):
        return value
    required = schema.get("required", ())
    return {
        name: without_optional_nulls(part, fields[name], root) if isinstance(fields.get(name), Mapping) else part
        for name, part in value.items()
        if part is not None or name in required or name not in fields or _takes_null(fields[name], root)
    }


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a local reference names; of several possibilities, the only one with fields or items."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: Any = root
        for name in reference[2:].split("/"):
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) and "$ref" not in found else {}
    options = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ()) if isinstance(one, Mapping)]
    structured = [one for one in (_resolved(one, root) for one in options) if "properties" in one or "items" in one]
    return structured[0] if len(structured) == 1 else schema


def _takes_null(schema: Any, root: Mapping[str, Any]) -> bool:
    if not isinstance(schema, Mapping):
        return True
    kinds = schema.get("type")
    options = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ())]
    names = kinds if isinstance(kinds, list) else [kinds]
    return "null" in names or None in schema.get("enum", ()) or any(_takes_null(one, root) for one in options)
