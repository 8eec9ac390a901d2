"""Tools of LangChain and LlamaIndex in `--tools` and `ask`: what the model sees of them, and what is run."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from cells import Ran
from tool_calls import calls, check, results, use
from wire_server import WireServer, canonical

import comet_magic
from comet_magic.errors import ConfigError
from comet_magic.settings import CometSettings

# Of theirs, on the way to being imported and in their models.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::(langchain|llama_index|pydantic|langsmith|nltk)")]


class Library:
    """A library that is imported when a test first uses it: it takes seconds, and `make quick` runs none of these."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper() and name != "tool":  # pytest looks for names of its own in all that a module has
            raise AttributeError(name)
        return getattr(pytest.importorskip(self._module, reason=f"{self._module} is not installed"), name)


langchain, llamaindex = Library("langchain_core.tools"), Library("llama_index.core.tools")


@pytest.fixture
def allows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": asked.append(prompt) or "y")
    return asked


def langchain_stock(ran: list[Any]) -> Any:
    @langchain.tool
    def stock(item: str, store: str = "Oslo") -> int:
        """Pieces of an item that a store has."""
        ran.append((item, store))
        return 12

    return stock


def llamaindex_stock(ran: list[Any]) -> Any:
    def stock(item: str, store: str = "Oslo") -> int:
        """Pieces of an item that a store has."""
        ran.append((item, store))
        return 12

    return llamaindex.FunctionTool.from_defaults(stock)


@pytest.mark.parametrize("make", [langchain_stock, llamaindex_stock])
def test_a_tool_of_a_library_works_as_a_function_does(
    serve: Callable[..., WireServer], allows: list[str], shell: Any, make: Callable[[list[Any]], Any]
) -> None:
    ran: list[Any] = []
    server = serve(calls(use("stock", {"item": "lamp"})), canonical("Twelve."))
    shell.user_ns["shop"] = make(ran)
    done = Ran(shell, "%%claude --tools shop\nLamps?")
    assert done.error is None
    assert ran == [("lamp", "Oslo")]
    assert "Allow stock?" in allows[0]
    offered = server.received[0].json["tools"]
    assert [tool["name"] for tool in offered] == ["stock"]
    assert "Pieces of an item that a store has." in offered[0]["description"]
    schema = offered[0]["input_schema"]
    assert list(schema["properties"]) == ["item", "store"]
    assert schema["required"] == ["item"]
    assert schema["additionalProperties"] is False
    check(server.received[1].json["messages"])
    assert results(server.received[1])[0]["content"] == "12"


def test_lists_of_tools_stand_for_what_is_in_them(
    serve: Callable[..., WireServer], allows: list[str], shell: Any
) -> None:
    server = serve(canonical("Fine."), canonical("Fine."))
    shell.user_ns.update(shop=[langchain_stock([])], two=[lambda_free, [llamaindex_named()]])
    assert Ran(shell, "%%claude --tools shop,two\nGo.").error is None
    comet_magic.ask("Go.", tools=[shell.user_ns["shop"], lambda_free])
    names = [[tool["name"] for tool in sent.json["tools"]] for sent in server.received]
    assert names == [["stock", "lambda_free", "other-one"], ["stock", "lambda_free"]]
    assert "two tools are called stock" in str(Ran(shell, "%%claude --tools shop,shop\nGo.").error)
    for one in (shell.user_ns["shop"][0], llamaindex_named()):
        with pytest.raises(ConfigError, match="a list of functions"):
            comet_magic.ask("Go.", tools=one)


def lambda_free() -> str:
    return "fine"


def llamaindex_named() -> Any:
    return llamaindex.FunctionTool.from_defaults(lambda_free, name="other-one")


def test_the_model_sees_no_argument_that_the_program_gives(
    serve: Callable[..., WireServer], allows: list[str], shell: Any
) -> None:
    ran: list[Any] = []

    @langchain.tool
    def orders(item: str, user: Annotated[str, langchain.InjectedToolArg] = "me") -> str:
        """Orders of an item."""
        ran.append((item, user))
        return "none"

    server = serve(
        calls(use("orders", {"item": "lamp", "user": "boss"}, "t1"), use("orders", {"item": "lamp"}, "t2")),
        canonical("None."),
    )
    message = comet_magic.ask("Orders?", tools=[orders])
    assert message.text == "None."
    assert "user" not in json.dumps(server.received[0].json["tools"])
    assert [block.get("is_error", False) for block in results(server.received[1])] == [True, False]
    assert ran == [("lamp", "me")]


def test_what_a_tool_raises_goes_to_the_model(serve: Callable[..., WireServer], allows: list[str], shell: Any) -> None:
    @langchain.tool
    def broken(item: str) -> str:
        """Breaks."""
        raise langchain.ToolException("no such lamp")

    def wrong(item: str) -> str:
        """Breaks, too."""
        raise ValueError("no such chair")

    server = serve(
        calls(use("broken", {"item": "lamp"}, "t1"), use("wrong", {"item": "chair"}, "t2")), canonical("Sorry.")
    )
    comet_magic.ask("Go.", tools=[broken, llamaindex.FunctionTool.from_defaults(wrong)])
    said = results(server.received[1])
    assert [block["is_error"] for block in said] == [True, True]
    assert "no such lamp" in said[0]["content"]
    assert "no such chair" in said[1]["content"]


def test_a_schema_may_be_a_dict(serve: Callable[..., WireServer], allows: list[str], shell: Any) -> None:
    ran: list[Any] = []
    schema = {"type": "object", "properties": {"item": {"type": "string", "enum": ["lamp"]}}, "required": ["item"]}
    tool = langchain.StructuredTool(
        name="look it.up", description="Look.", args_schema=schema, func=lambda **given: ran.append(given) or "seen"
    )
    server = serve(
        calls(use("look_it_up", {"item": "chair"}, "t1"), use("look_it_up", {"item": "lamp"}, "t2")), canonical("Seen.")
    )
    comet_magic.ask("Go.", tools=[tool])
    assert server.received[0].json["tools"][0]["name"] == "look_it_up"
    assert [block.get("is_error", False) for block in results(server.received[1])] == [True, False]
    assert ran == [{"item": "lamp"}]


async def later(item: str) -> str:
    """Look it up, later."""
    return "seen"


@pytest.mark.parametrize(
    "tool",
    [
        lambda: langchain.StructuredTool.from_function(coroutine=later, name="later"),
        lambda: llamaindex.FunctionTool.from_defaults(async_fn=later),
        lambda: llamaindex.FunctionTool.from_defaults(later),
    ],
)
def test_what_can_only_be_awaited_is_refused(serve: Callable[..., WireServer], shell: Any, tool: Any) -> None:
    server = serve(canonical())
    with pytest.raises(ConfigError, match="later is async, and a tool is not"):
        comet_magic.ask("Go.", tools=[tool()])
    assert server.received == []


def test_only_the_user_says_that_a_tool_is_safe(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch, shell: Any
) -> None:
    def nobody(prompt: str = "") -> str:
        raise EOFError

    monkeypatch.setattr(builtins, "input", nobody)
    ran: list[Any] = []
    plain, safe, inner = langchain_stock(ran), llamaindex_named(), langchain_stock(ran)
    safe = comet_magic.tool(safe=True)(safe)
    inner.func = comet_magic.tool(safe=True)(inner.func)
    marked = comet_magic.tool(safe=True)(langchain_stock(ran))
    assert marked.invoke({"item": "lamp"}) == 12  # it is still what it was
    assert "comet" not in str(marked.model_dump())
    ran.clear()
    serve(*[script for one in ("stock", "other-one", "stock", "stock") for script in _calling(one)])
    for tool in (plain, safe, inner, marked):
        comet_magic.ask("Go.", tools=[tool])
    assert len(ran) == 2
    last = comet_magic.last
    assert last is not None
    assert last.calls[0].result == "12"


def _calling(name: str) -> list[Any]:
    return [calls(use(name, {} if name == "other-one" else {"item": "lamp"})), canonical("Done.")]


def test_always_is_for_that_very_tool(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch, shell: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": asked.append(prompt) or "a")
    serve(*_calling("stock") * 3)
    shell.user_ns["one"] = langchain_stock([])
    Ran(shell, "%%claude --tools one\nLamps?")
    Ran(shell, "%%claude --tools one\nAnd now?")
    assert len(asked) == 1
    shell.user_ns["one"] = langchain_stock([])
    Ran(shell, "%%claude --tools one\nAnd now?")
    assert len(asked) == 2


def test_a_call_that_takes_too_long_is_stopped(serve: Callable[..., WireServer], allows: list[str], shell: Any) -> None:
    @langchain.tool
    def slow(item: str) -> str:
        """Takes its time."""
        import time

        time.sleep(30)
        return item

    CometSettings.instance().tool_timeout_s = 0.2
    server = serve(calls(use("slow", {"item": "lamp"})), canonical("Sorry."))
    comet_magic.ask("Go.", tools=[slow])
    assert "took longer than 0.2 s" in results(server.received[1])[0]["content"]


def test_functions_that_are_marked_for_us_work_there() -> None:
    @comet_magic.tool(safe=True)
    def stock(item: str) -> int:
        """Pieces of an item."""
        return 12

    assert langchain.tool(stock).invoke({"item": "lamp"}) == 12
    assert llamaindex.FunctionTool.from_defaults(stock).call(item="lamp").raw_output == 12


def test_tab_and_the_dry_run_know_them(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(canonical())
    shell.user_ns.update(lang_tool=langchain_stock([]), llama_tool=llamaindex_stock([]), words=["a"])
    magic = "%%claude --tools "
    from comet_magic.notebook.flag_completion import line_completions

    magics = shell.magics_manager.registry["CometMagics"]
    offered = line_completions(magic.split(), "", magics) or []
    assert {"lang_tool", "llama_tool"} <= set(offered)
    assert "words" not in offered
    done = Ran(shell, f"{magic}lang_tool --dry-run\nGo.")
    assert "Pieces of an item that a store has." in done.plain
    assert "tools: stock" in done.plain
    assert server.received == []


def test_a_tool_that_cannot_say_what_it_takes_is_an_error(serve: Callable[..., WireServer], shell: Any) -> None:
    class Odd:
        name, description = "odd", ""

        @property
        def tool_call_schema(self) -> Any:
            raise TypeError("no schema")

        def invoke(self, given: Any) -> Any:
            raise AssertionError

    serve(canonical())
    with pytest.raises(ConfigError, match="does not say what it takes: TypeError: no schema"):
        comet_magic.ask("Go.", tools=[Odd()])  # type: ignore[list-item]
    nameless = langchain_stock([])
    nameless.name = "…"
    with pytest.raises(ConfigError, match="a tool of LangChain has no name"):
        comet_magic.ask("Go.", tools=[nameless])


def test_the_oldest_kind_of_langchain_takes_one_text(
    serve: Callable[..., WireServer], allows: list[str], shell: Any
) -> None:
    search = langchain.Tool(name="search", func=lambda text: f"found {text}", description="Search.")
    server = serve(calls(use("search", {"tool_input": "lamps"})), canonical("Found."))
    comet_magic.ask("Go.", tools=[search])
    assert server.received[0].json["tools"][0]["input_schema"] == {
        "type": "object", "properties": {"tool_input": {"type": "string"}}, "required": ["tool_input"],
        "additionalProperties": False,
    }  # fmt: skip
    assert results(server.received[1])[0]["content"] == "found lamps"


def test_what_only_a_program_of_the_library_can_call_is_refused(serve: Callable[..., WireServer], shell: Any) -> None:
    @langchain.tool
    def orders(item: str, user: Annotated[str, langchain.InjectedToolArg]) -> str:
        """Orders of an item."""
        return user

    @langchain.tool
    def noted(item: str, call: Annotated[str, langchain.InjectedToolCallId]) -> str:
        """Note it."""
        return call

    def steps(context: Any, item: str) -> str:
        """Go on with a workflow."""
        return item

    context = Library("llama_index.core.workflow").Context
    steps.__annotations__ = {"context": context, "item": str}  # it reads no names of types
    server = serve(canonical())
    for tool, said in (
        (orders, "orders needs user, which only a program of LangChain's gives it"), (noted, "noted needs call"),
        (llamaindex.FunctionTool.from_defaults(steps), "steps needs the context of a LlamaIndex workflow"),
        (langchain.StructuredTool.from_function(func=later, name="later"), "later is async"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            comet_magic.ask("Go.", tools=[tool])
    with pytest.raises(ConfigError, match="lists in lists"):
        comet_magic.ask("Go.", tools=itself())
    with pytest.raises(ConfigError, match="mark each"):
        comet_magic.tool(safe=True)([orders])  # type: ignore[type-var]
    assert server.received == []


def itself() -> list[Any]:
    tools: list[Any] = []
    tools.append(tools)
    return tools


def test_a_copy_is_not_safe_because_the_first_one_is(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "input", lambda prompt="": "n")
    ran: list[Any] = []
    harmless = comet_magic.tool(safe=True)(langchain_stock(ran))
    copy = harmless.model_copy(update={"func": lambda item, store="": ran.append("danger"), "name": "copy"})
    server = serve(calls(use("copy", {"item": "lamp"})), canonical("So."))
    comet_magic.ask("Go.", tools=[copy])
    assert results(server.received[1])[0]["is_error"]
    assert ran == []


def test_what_llamaindex_makes_of_a_result_is_sent(
    serve: Callable[..., WireServer], allows: list[str], shell: Any
) -> None:
    def stock(item: str) -> Any:
        """Pieces of an item."""
        return llamaindex.ToolOutput(
            content="no lamps", tool_name="stock", raw_input={}, raw_output="no lamps", is_error=True
        )

    filtered = llamaindex.FunctionTool.from_defaults(lambda_free, callback=lambda raw: f"filtered {raw}")
    server = serve(calls(use("lambda_free", {}, "t1"), use("stock", {"item": "lamp"}, "t2")), canonical("So."))
    comet_magic.ask("Go.", tools=[filtered, llamaindex.FunctionTool.from_defaults(stock)])
    first, second = results(server.received[1])
    assert first["content"] == "filtered fine"
    assert second["is_error"]
    assert "no lamps" in second["content"]


def test_copies_of_copies_are_not_safe(serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark is of the very object, and not of the place in memory where another one stands later."""
    monkeypatch.setattr(builtins, "input", lambda prompt="": "n")
    look, ran = langchain_stock([]), list[str]()
    server = serve(*[script for _ in range(30) for script in _calling("stock")])
    for _ in range(30):
        tool = comet_magic.tool(safe=True)(look.model_copy())
        tool = tool.model_copy(update={"func": lambda item, store="": ran.append("danger")})
        tool = tool.model_copy(update={"description": "danger"})
        comet_magic.ask("Go.", tools=[tool])
    assert ran == []
    assert len(server.received) == 60
