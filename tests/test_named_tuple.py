"""Our `NamedTuple` makes the class that the one of `typing` makes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import typing
from typing import Any

import pytest

from comet_magic import named_tuple


def made(base: Any, name: str) -> Any:
    class Value(base):  # type: ignore[misc]  # one of the two
        """A value."""

        first: int
        second: str | None = None
        third: tuple[int, ...] = ()

        @property
        def both(self) -> str:
            return f"{self.first} {self.second}"

        @classmethod
        def of(cls, first: int) -> Any:
            return cls(first, "made")

        def __str__(self) -> str:
            return "shown"

    Value.__name__ = Value.__qualname__ = name  # as which it is pickled
    return Value


Theirs, Ours = made(typing.NamedTuple, "Theirs"), made(named_tuple.NamedTuple, "Ours")


class Heir(Ours):  # type: ignore[misc]  # it is made above
    pass


DONE: list[Any] = [
    lambda cls: cls._fields,
    lambda cls: cls._field_defaults,
    lambda cls: cls.__match_args__,
    lambda cls: (cls.__doc__, cls.__module__, cls.__bases__, type(cls)),
    lambda cls: typing.get_type_hints(cls),
    lambda cls: repr(cls(1)).replace("Theirs", "Ours"),
    lambda cls: (str(cls(1)), f"{cls(1)}", cls(1).both, cls.of(3), cls(1, "x")),
    lambda cls: (cls(1)._asdict(), cls(1)._replace(first=2), cls._make([1, 2, 3])),
    lambda cls: (cls(1) == cls(1), cls(1) == (1, None, ()), hash(cls(1)), [*cls(1)]),
    lambda cls: (pickle.loads(pickle.dumps(cls(1))), type(pickle.loads(pickle.dumps(cls(1)))) is cls),
    lambda cls: (copy.copy(cls(1)), copy.deepcopy(cls(1)), type(copy.copy(cls(1))) is cls),
]


@pytest.mark.parametrize("do", DONE)
def test_it_does_the_same(do: Any) -> None:
    assert do(Ours) == do(Theirs)


def test_what_is_wrong_is_refused() -> None:
    for wrong in ({}, {"fourth": 1}):
        with pytest.raises(TypeError):
            Ours(**wrong)
    with pytest.raises(AttributeError):
        Ours(1).first = 2  # type: ignore[misc]
    for space, words in (
        ({"__annotations__": {"_first": "int"}}, "underscore"),
        ({"__annotations__": {"first": "int", "second": "int"}, "first": 1}, "cannot follow default"),
        ({"__annotations__": {"first": "int"}, "_replace": None}, "Cannot overwrite"),
    ):
        with pytest.raises((ValueError, TypeError, AttributeError), match=words):
            type(named_tuple.NamedTuple)("Wrong", (named_tuple.NamedTuple,), {**space, "__module__": "m"})


def test_a_file_without_the_import_is_told() -> None:
    with pytest.raises(TypeError, match="from __future__ import annotations"):
        type(named_tuple.NamedTuple)("Wrong", (named_tuple.NamedTuple,), {"__module__": "m", "__annotate_func__": None})


def test_a_class_of_it_can_be_extended() -> None:
    assert Heir(1) == Ours(1)
    assert isinstance(Heir(1)._replace(first=2), Heir)


def test_no_annotation_is_compiled() -> None:
    code = (
        "import builtins, comet_magic.named_tuple as n\ncompiled = []\nof_python = builtins.compile\n"
        "builtins.compile = lambda *given, **more: (compiled.append(given[0]), of_python(*given, **more))[1]\n"
        "space = {'__annotations__': {'a': 'dict[str, int] | None'}, '__module__': 'm'}\n"
        "type(n.NamedTuple)('Made', (n.NamedTuple,), dict(space)); print(compiled)\n"
        "import typing; typing.NamedTupleMeta('Made', (typing._NamedTuple,), dict(space)); print(len(compiled))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "1"]
