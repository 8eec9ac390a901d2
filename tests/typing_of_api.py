"""What the type checker makes of the public API; `make check` reads this file, and nothing runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import assert_type

import comet_magic
from comet_magic import Message, Usage, describe, tool


class City:
    name: str


def asks() -> None:
    assert_type(comet_magic.ask("hi"), Message)
    assert_type(comet_magic.ask("hi", as_=int), int)
    assert_type(comet_magic.ask("hi", as_=City), City)
    assert_type(comet_magic.ask("hi", as_=list[City]), list[City])
    assert_type(comet_magic.ask("hi", as_={"type": "object"}), Any)


def reads(message: Message) -> None:
    assert_type(message.text, str)
    assert_type(message.usage, Usage)
    assert_type(message.usage.output_tokens, int | None)
    assert_type(message.usage + message.usage, Usage)
    assert_type(message.code_blocks, list[tuple[str, str]])
    assert_type(message.stop_reason, str | None)


@tool
def plain(item: str) -> int:
    return 1


@tool(safe=True)
def safe(item: str) -> int:
    return 1


assert_type(plain("tea"), int)
assert_type(safe("tea"), int)


def describes(value: City) -> str:
    return value.name


assert_type(describe.register(City, describes), None)
describer: Callable[[City], str] = describes
