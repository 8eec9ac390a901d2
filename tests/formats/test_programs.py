"""What goes to other programs: through their own code, where a package has it, else by their rules, restated here."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_calls import calls, use
from wire_server import MESSAGE, WireServer, canonical, reply

import comet_magic
from comet_magic import conversations
from comet_magic.exchange import session
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message
from comet_magic.settings import CometSettings
from comet_magic.store import conversations as stored
from comet_magic.text import whole_text

PNG = "iVBORw0KGgo="


def keep(name: str, *turns: tuple[Any, ...]) -> None:
    """Keep a conversation of these turns; each is the contents of its messages."""
    made = [
        Turn.of(f"c{number}", [Message.from_wire({"role": role, "content": content}) for role, content in zip(("user", "assistant") * 9, contents, strict=False)],
                at=1767000000.0 - number)
        for number, contents in enumerate(turns)
    ]  # fmt: skip
    stored.put(session.current().store(CometSettings.instance()), {name: made})


TALK: list[tuple[Any, ...]] = [
    ("What is it?", "Twelve.\n\n```python\nprint(12)\n```\u2028🙂"),
    ([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, {"type": "text", "text": "And this?"}], "A <b>lamp</b>."),
    ("Lamps?", [{"type": "text", "text": "I look."}, {"type": "tool_use", "id": "t1", "name": "stock", "input": {"item": "lamp"}}],
     [{"type": "tool_result", "tool_use_id": "t1", "content": "12"}], "Twelve."),
]  # fmt: skip
SAID = [
    "What is it?", "Twelve.\n\n```python\nprint(12)\n```\u2028🙂", "⟨image⟩\nAnd this?", "A <b>lamp</b>.",
    "Lamps?", "I look.\n\n> stock(item='lamp') → 12\n\nTwelve.",
]  # fmt: skip


# ---- the rules of three programs, in our words


def open_webui(conversation: dict[str, Any]) -> list[tuple[str, str]]:
    """`convertOpenAIMessages` and `validateChat` of src/lib/utils/index.ts."""
    kept: list[dict[str, Any]] = []
    for key, entry in conversation["mapping"].items():
        message = entry["message"]
        if not kept and (
            message is None or (message["content"]["parts"][0] == "" and message["content"].get("text") is None)
        ):
            continue
        kept.append({
            "id": key, "parent": kept[-1]["id"] if kept else None, "children": entry["children"],
            "role": "user" if message["author"]["role"] == "user" else "assistant", "content": message["content"]["parts"][0],
        })  # fmt: skip
    assert kept
    assert kept[-1]["children"] == []
    assert kept[0]["parent"] is None
    assert all(isinstance(one["content"], str) for one in kept)
    return [(one["role"], one["content"]) for one in kept]


def librechat(conversation: dict[str, Any]) -> list[tuple[str, str]]:
    """`convertChatGptConvo` of api/server/utils/import/importers.js: in the order of time, parents found upwards."""
    kept = []
    for entry in conversation["mapping"].values():
        message = entry["message"]
        if not message or message["author"]["role"] == "system":
            continue
        assert message["content"]["content_type"] == "text"
        kept.append((message["create_time"], message["author"]["role"], " ".join(message["content"]["parts"])))
    assert kept == sorted(kept, key=lambda one: one[0])
    assert len({one[0] for one in kept}) == len(kept)
    return [(role, text) for _, role, text in kept]


def cherry_studio(conversation: dict[str, Any]) -> list[tuple[str, str]]:
    """`ChatGPTImporter` of src/renderer/src/services/import/importers: from the current node upwards; times must be."""
    for name in ("create_time", "update_time"):
        datetime.fromtimestamp(conversation[name], timezone.utc).isoformat()
    path, key = [], conversation["current_node"]
    while key:
        entry = conversation["mapping"][key]
        if (message := entry["message"]) and message["author"]["role"] in ("user", "assistant"):
            datetime.fromtimestamp(message["create_time"], timezone.utc).isoformat()
            path.append((message["author"]["role"], "\n\n".join(message["content"]["parts"])))
        key = entry["parent"]
    return path[::-1]


@pytest.mark.parametrize("program", [open_webui, librechat, cherry_studio])
def test_one_file_is_for_three_programs(tmp_path: Path, program: Any) -> None:
    keep("eda", *TALK)
    path = conversations.export(tmp_path / "eda.json", name="eda")
    (exported,) = json.loads(path.read_text("utf-8"))
    assert exported["title"] == "eda"
    assert program(exported) == list(zip(("user", "assistant") * 3, SAID, strict=True))


def test_the_file_is_the_same_each_time_and_names_the_model(tmp_path: Path, serve: Any) -> None:
    serve(canonical("ok"))
    comet_magic.ask("one", chat="talk", model="haiku")
    first = conversations.export(tmp_path / "one.json", name="talk").read_text()
    second = conversations.export(tmp_path / "one.json", name="talk", overwrite=True).read_text()
    assert first == second
    nodes = list(json.loads(first)[0]["mapping"].values())
    assert [(node["message"] or {"metadata": {}})["metadata"].get("model_slug") for node in nodes] == [
        None,
        None,
        "claude-haiku-4-5-20251001",
    ]
    assert comet_magic.conversations.read(tmp_path / "one.json")[0].title == "talk"


def test_the_markdown_reads_well_in_obsidian(tmp_path: Path) -> None:
    keep(
        "eda",
        (
            "Use %%claude here, %% and there",
            "`%%claude` in code, %%claude in text, ![[secret]] and\n\n```\n%%claude\n```\n\n~~~text\n%% %%\n~~~",
        ),
    )
    text = conversations.export(tmp_path / "eda.md", name="eda").read_text("utf-8")
    outside = re.sub(r"```.*?```|~~~.*?~~~|`[^`]*`", "", text, flags=re.S)
    assert "%%" not in outside  # between two of them Obsidian shows nothing
    assert "![[" not in outside  # it would embed a note of the vault
    assert "`%%claude` in code, &#37;&#37;claude in text" in text
    assert "```\n%%claude\n```" in text
    assert "<details" not in text


def test_gptme_takes_lines_of_text(tmp_path: Path) -> None:
    """`Log.read_jsonl` of gptme/logmanager: a line whose content is no text is passed over; the recipe flattens it.

    tests/bench/third_party.py runs gptme's own code on this file.
    """
    keep("eda", *TALK)
    path = tmp_path / "conversation.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in flattened("eda")))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(isinstance(line[name], str) for line in lines for name in ("role", "content"))  # else it is passed over
    assert [line["content"] for line in lines] == [
        "What is it?", TALK[0][1], "And this?", "A <b>lamp</b>.", "Lamps?", "I look.", "Twelve."
    ]  # fmt: skip


def flattened(name: str) -> list[dict[str, str]]:
    """What the manual's recipe writes."""
    page = (Path(__file__).parents[2] / "docs/how-to/work-with-other-programs.md").read_text("utf-8")
    (recipe,) = re.findall(r"^spoken = .*?\n(?=Path)", page, re.M | re.S)
    names: dict[str, Any] = {"comet_magic": comet_magic, "json": json}
    exec(recipe.replace('"talk"', repr(name)), names)
    return [json.loads(line) for line in names["lines"]]


# ---- LangChain's own code


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_langchain_takes_our_messages_and_gives_them_back() -> None:
    messages = pytest.importorskip("langchain_core.messages", reason="LangChain is not installed")
    chat_models = pytest.importorskip("langchain_anthropic.chat_models", reason="langchain-anthropic is not installed")
    keep("eda", *TALK)
    wire = conversations.to_messages("eda")
    converted = messages.convert_to_messages(wire)
    assert [type(one).__name__ for one in converted] == ["HumanMessage", "AIMessage"] * 4
    model = chat_models.ChatAnthropic(model="claude-sonnet-4-6", api_key="sk-none")
    assert model._get_request_payload(converted)["messages"] == wire


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_langchain_works_on_this_gateway_by_the_manuals_recipe() -> None:
    """Old versions send the key as x-api-key alone, which a gateway with Bearer keys refuses."""
    pytest.importorskip("langchain_anthropic", reason="langchain-anthropic is not installed")
    page = (Path(__file__).parents[2] / "docs/how-to/work-with-other-programs.md").read_text("utf-8")
    (recipe,) = re.findall(r"^from langchain_anthropic .*?^\)$", page, re.M | re.S)
    with WireServer(reply({**MESSAGE, "content": [{"type": "text", "text": "Twelve."}]})) as server:
        names: dict[str, Any] = {"key": "sk-test-0123456789"}
        exec(recipe.replace("https://api.cometapi.com", server.url), names)
        assert names["model"].invoke("What is it?").content == "Twelve."
    (received,) = server.received
    assert received.line.startswith("POST /v1/messages ")
    assert received.header("authorization") == "Bearer sk-test-0123456789"


def test_what_is_returned_is_the_wires_own(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stock(item: str) -> int:
        """Pieces of an item."""
        return 12

    monkeypatch.setattr("builtins.input", lambda prompt="": "y")
    serve(calls({**use("stock", {"item": "lamp"}), "extra": {"signature": "s"}}), canonical("Twelve."))
    comet_magic.ask("Lamps?", tools=[stock], chat="talk")
    assert conversations.to_messages("talk") == [
        {"role": "user", "content": "Lamps?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "stock", "input": {"item": "lamp"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "12"}]},
        {"role": "assistant", "content": "Twelve."},
    ]  # fmt: skip
    assert conversations.to_messages("nothing") == []


# ---- out and in again

TEXT = st.text(st.characters(exclude_categories=()), min_size=1).filter(str.strip)
TURN = st.one_of(
    st.tuples(TEXT, TEXT),
    st.tuples(
        TEXT, st.just([{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]),
        TEXT.map(lambda text: [{"type": "tool_result", "tool_use_id": "t1", "content": text}]), TEXT,
    ),
    st.tuples(st.just([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]), TEXT),
)  # fmt: skip


@given(turns=st.lists(TURN, min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_conversation_that_is_exported_and_imported_keeps_each_turns_text(
    tmp_path: Path, nobody_home: Any, turns: list[tuple[Any, ...]]
) -> None:
    session.reset()
    for name in conversations.names():
        conversations.delete(name)
    keep("talk", *turns)
    before = conversations.get("talk").turns
    lines = conversations.export(tmp_path / "talk.jsonl", name="talk", overwrite=True)
    assert list(map(whole, conversations.load(lines, "lines").turns)) == list(map(whole, before))
    form = conversations.export(tmp_path / "talk.json", name="talk", overwrite=True)
    after = conversations.load(form, "form").turns
    assert [turn.question for turn in after] == [turn.question or "⟨image⟩" for turn in before]
    for old, new in zip(before, after, strict=True):
        assert new.reply == old.reply or (len(old.messages) == 4 and new.reply.endswith(f"\n\n{old.reply}"))
    assert conversations.read(form)[0].left_out.total() == 0


def whole(turn: Turn) -> Any:
    """A turn's messages, without halves of characters, which nobody can be sent."""
    return json.loads(whole_text(json.dumps(json.loads(turn.wire), ensure_ascii=False)))


def test_a_long_reply_goes_out_and_in(tmp_path: Path) -> None:
    keep("talk", ("Long?", "x\ud83d\ude00 " * 300_000))
    form = conversations.export(tmp_path / "talk.json", name="talk")
    assert conversations.load(form, "again").turns[0].reply == conversations.get("talk").turns[0].reply
