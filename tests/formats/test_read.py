"""Files of conversations, ours and of other programs: what is read of each, and what is left out."""

from __future__ import annotations

import copy
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from hypothesis import given, settings
from hypothesis import strategies as st

from comet_magic import conversations
from comet_magic.errors import ConfigError
from comet_magic.formats import read
from comet_magic.formats.source import left_out_line
from comet_magic.messages.message import Message

PNG = "iVBORw0KGgo="
USER, REPLY = {"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "Twelve."}
BOTH = [("What is it?", "Twelve.")]


def node(key: str, parent: str | None, role: str, text: Any, **more: Any) -> dict[str, Any]:
    content = text if isinstance(text, dict) else {"content_type": "text", "parts": [text]}
    return {
        "id": key,
        "parent": parent,
        "children": [],
        "message": {"id": key, "author": {"role": role}, "content": content, **more},
    }


def chatgpt(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    root = {"id": "root", "message": None, "parent": None, "children": []}
    mapping = {one["id"]: one for one in (root, *nodes)}
    return {"title": "eda", "create_time": 1767000000.0, "update_time": 1767000004.5, "mapping": mapping, **more}


CHATGPT = chatgpt(
    node("u1", "root", "user", "What is it?"), node("a1", "u1", "assistant", "Twelve."), current_node="a1"
)
CLAUDE_AI = {
    "uuid": "c", "name": "eda", "updated_at": "2026-01-02T03:04:05.123456Z", "current_leaf_message_uuid": "m2",
    "chat_messages": [
        {"uuid": "m1", "sender": "human", "text": "What is it?", "content": [{"type": "text", "text": "What is it?"}], "parent_message_uuid": None},
        {"uuid": "m2", "sender": "assistant", "text": "Twelve.", "content": [{"type": "text", "text": "Twelve."}], "parent_message_uuid": "m1"},
    ],
}  # fmt: skip
OPEN_WEBUI = {
    "id": "c", "title": "eda", "created_at": 1767000000, "updated_at": 1767000004,
    "chat": {"title": "eda", "models": ["m"], "history": {"currentId": "a1", "messages": {
        "u1": {"id": "u1", "parentId": None, "childrenIds": ["a1"], "role": "user", "content": "What is it?", "timestamp": 1767000001},
        "a1": {"id": "a1", "parentId": "u1", "childrenIds": [], "role": "assistant", "content": "Twelve.", "model": "m", "done": True},
    }}},
}  # fmt: skip
LIBRECHAT = {
    "conversationId": "c", "title": "eda", "endpoint": "anthropic", "recursive": False, "options": {}, "messages": [
        {"messageId": "1", "parentMessageId": "00000000-0000-0000-0000-000000000000", "isCreatedByUser": True, "sender": "User", "text": "What is it?", "createdAt": "2026-01-02T03:04:05.000Z"},
        {"messageId": "2", "parentMessageId": "1", "isCreatedByUser": False, "sender": "Claude", "text": "Twelve.", "createdAt": "2026-01-02T03:04:06.000Z"},
    ],
}  # fmt: skip
LIBRECHAT_TREE = {
    "conversationId": "c", "title": "eda", "recursive": True, "messagesTree": [
        {"messageId": "1", "isCreatedByUser": True, "text": "What is it?", "children": [
            {"messageId": "2", "isCreatedByUser": False, "text": "", "createdAt": "2026-01-02T03:04:06.000Z", "children": [],
             "content": [{"type": "think", "think": "Hm."}, {"type": "text", "text": {"value": "Twelve."}}]},
        ]},
    ],
}  # fmt: skip
CALLS = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Lamps?"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "stock", "arguments": '{"item": "lamp"}'}},
        {"id": "c2", "type": "function", "function": {"name": "stock", "arguments": '{"item": "chair"}'}},
    ]},
    {"role": "tool", "tool_call_id": "c2", "content": "3"}, {"role": "tool", "tool_call_id": "c1", "content": "12"},
    {"role": "assistant", "content": "Twelve."},
]  # fmt: skip


def found(path: Path, data: Any, name: str = "file.json") -> list[read.FileConversation]:
    (path / name).write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return conversations.read(path / name)


def talk(one: read.FileConversation) -> list[tuple[str, str]]:
    return [(turn.question, turn.reply) for turn in one.turns]


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


# ---- every form, by what is in it


@pytest.mark.parametrize(
    ("data", "title", "date"),
    [
        (lines(USER, REPLY), "file", None), ([USER, REPLY], "file", None), ({"messages": [USER, REPLY]}, "file", None),
        (lines({"messages": [USER, REPLY]}), "file", None), ("\n" + lines(USER) + "\r\n\n" + lines(REPLY), "file", None),
        ("\ufeff" + lines(USER, REPLY), "file", None), ("\ufeff" + json.dumps([CHATGPT]), "eda", 1767000004.5),
        ([CHATGPT], "eda", 1767000004.5), (CHATGPT, "eda", 1767000004.5), ([CLAUDE_AI], "eda", 1767323045.123456),
        (CLAUDE_AI, "eda", 1767323045.123456), ([OPEN_WEBUI], "eda", 1767000004), (LIBRECHAT, "eda", 1767323046),
        (LIBRECHAT_TREE, "eda", 1767323046), ([LIBRECHAT], "eda", 1767323046),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["file.json", "file.jsonl", "file"])
def test_a_file_is_known_by_what_is_in_it(tmp_path: Path, data: Any, title: str, date: float | None, name: str) -> None:
    (one,) = found(tmp_path, data, name)
    assert (one.number, one.title, talk(one)) == (1, title, BOTH)
    assert one.date == (None if date is None else pytest.approx(date))


def test_a_file_in_utf_16_and_an_archive_are_read(tmp_path: Path) -> None:
    (tmp_path / "wide.json").write_bytes(json.dumps([CHATGPT]).encode("utf-16"))
    assert talk(conversations.read(tmp_path / "wide.json")[0]) == BOTH
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("users.json", "[]")
        archive.writestr("chats/conversations-001.json", json.dumps([{**CHATGPT, "title": "second"}]))
        archive.writestr("chats/conversations-000.json", json.dumps([CHATGPT]))
    assert [(one.number, one.title) for one in conversations.read(tmp_path / "export.zip")] == [
        (1, "eda"),
        (2, "second"),
    ]
    with zipfile.ZipFile(tmp_path / "claude.zip", "w") as archive:
        archive.writestr("conversations.json", json.dumps([CLAUDE_AI]))
    assert talk(conversations.read(tmp_path / "claude.zip")[0]) == BOTH


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "it is empty"), ("no json", "it is not JSON"), ("{}", "none of the files that can be read"), ("3", "none of the files"),
        ('{"a": 1}\n{"a":', "it is not JSON"), ("[" * 100_000, "nested too deeply"), ("[]", "none of the files"),
        ([USER], "no question with a reply \\(left out: 1 question without a reply\\)"), ([{"users": []}], "none of the files"),
        ({"chat-next-web-store": {"sessions": []}}, "it takes .jsonl and .json files that --export wrote"),
    ],
)  # fmt: skip
def test_another_file_is_refused_with_what_could_be_read(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        found(tmp_path, data)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        conversations.read(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="it is a folder"):
        conversations.read(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ConfigError, match=r"no text in UTF-8 \(byte 0\)"):
        conversations.read(tmp_path / "bytes")
    with zipfile.ZipFile(tmp_path / "other.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ConfigError, match=r"there is no JSON in the archive"):
        conversations.read(tmp_path / "other.zip")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(ConfigError, match="it has more than 200 MB"):
        conversations.read(tmp_path / "large.json")
    monkeypatch.setattr(read, "LARGEST", 10_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", "[" + " " * 1_000_000 + "]")
    with pytest.raises(ConfigError, match="it has more than"):
        conversations.read(tmp_path / "bomb.zip")


# ---- several in one file


def test_several_are_listed_and_one_or_all_are_picked(shell: Any, tmp_path: Path) -> None:
    three = [
        CHATGPT,
        {**CHATGPT, "title": "second | <b>"},
        chatgpt(title="empty"),
        {**CHATGPT, "title": "second | <b>"},
    ]
    (tmp_path / "c.json").write_text(json.dumps(three))
    shown = Ran(shell, f"%claude_history --import {tmp_path}/c.json -c x").said
    assert "Conversations in the file" in shown
    assert [line.split()[0] for line in shown.splitlines() if line[:1].isdigit()] == ["1", "2", "3", "4"]
    assert "2025\u201112\u201129" in shown
    assert "--pick NUMBER -c NAME" in shown
    assert conversations.names() == []
    assert "imported 1 turn as x" in Ran(shell, f"%claude_history --import {tmp_path}/c.json -c x --pick 2").printed
    assert "imported 1 turn as y" in Ran(shell, f"%claude_history --import {tmp_path}/c.json -c y --pick EDA").printed
    printed = Ran(shell, f"%claude_history --import {tmp_path}/c.json -c all --pick all").printed
    assert printed == "imported 3 conversations: all/eda, all/second | <b>, all/second | <b> (2)\n"
    assert {len(conversations.get(name).turns) for name in conversations.names()} == {1}
    for pick, why in (
        ("9", "there is no '9'"),
        ("second | <b>", "2 are called"),
        ("3", "conversation 3 has no question with a reply"),
    ):
        assert why in str(Ran(shell, f'%claude_history --import {tmp_path}/c.json -c z --pick "{pick}"').error)
    assert "--pick is for --import" in str(Ran(shell, "%claude_history --pick 1").error)
    with pytest.raises(ConfigError, match="3 conversations in"):
        conversations.load(tmp_path / "c.json", "z")
    assert talk_of(conversations.load(tmp_path / "c.json", "z", pick=1)) == BOTH
    assert [one.name for one in conversations.load(tmp_path / "c.json", "z", pick="all")] == [
        "z/eda",
        "z/second | <b>",
        "z/second | <b> (2)",
    ]


def talk_of(conversation: Any) -> list[tuple[str, str]]:
    return [(turn.question, turn.reply) for turn in conversation.turns]


def test_the_only_one_needs_no_pick_and_an_import_costs_nothing(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(CALLS))
    assert "an import needs a name" in str(Ran(shell, f"%claude_history --import {tmp_path}/c.json").error)
    assert Ran(shell, f"%claude_history --import {tmp_path}/c.json -c x").printed.splitlines() == [
        "imported 1 turn as x; go on with %%claude -c x", "left out: 1 system message"
    ]  # fmt: skip
    (turn,) = conversations.get("x").turns
    assert (turn.request, turn.cost_usd, turn.tokens) == (None, None, None)
    assert Ran(shell, "%claude_history -c x").said.rstrip().endswith("imported")


# ---- one turn at a time


def test_calls_of_openai_become_calls(tmp_path: Path) -> None:
    (one,) = found(tmp_path, {"messages": CALLS})
    (turn,) = one.turns
    assert [message.to_wire() for message in turn.messages[1:]] == [
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c1", "name": "stock", "input": {"item": "lamp"}},
            {"type": "tool_use", "id": "c2", "name": "stock", "input": {"item": "chair"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c2", "content": "3"}, {"type": "tool_result", "tool_use_id": "c1", "content": "12"}]},
        {"role": "assistant", "content": "Twelve."},
    ]  # fmt: skip
    assert left_out_line(one.left_out) == "left out: 1 system message"


def call(arguments: Any, key: str | None = "c1") -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [{"id": key, "function": {"name": "stock", "arguments": arguments}}],
    }


@pytest.mark.parametrize(
    ("messages", "reply"),
    [
        # Arguments that are no JSON, no id, no result, another's result, and a question where the result should be.
        ([USER, call("{item:"), {"role": "tool", "tool_call_id": "c1", "content": "12"}, REPLY], "Let me see.\n\n> stock('{item:') → 12\n\nTwelve."),
        ([USER, call("{}", None), {"role": "tool", "tool_call_id": "c9", "content": "12"}, REPLY], "Let me see.\n\n> stock() → (no result)\n\nTwelve."),
        ([USER, call("{}"), REPLY], "Let me see.\n\n> stock() → (no result)\n\nTwelve."),
        ([USER, call("{}"), {"role": "tool", "tool_call_id": "c9", "content": "12"}, REPLY], "Let me see.\n\n> stock() → (no result)\n\nTwelve."),
        ([USER, call("{}")], "Let me see.\n\n> stock() → (no result)"),
        ([USER, call("{}"), {"role": "tool", "tool_call_id": "c1", "content": "12"}], "Let me see.\n\n> stock() → 12"),
    ],
)  # fmt: skip
def test_calls_that_the_api_would_refuse_become_text(tmp_path: Path, messages: list[Any], reply: str) -> None:
    (one,) = found(tmp_path, messages)
    assert talk(one) == [("What is it?", reply)]
    (one,) = found(tmp_path, [*messages, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Yes."}])
    assert talk(one) == [("What is it?", reply), ("And?", "Yes.")]


def test_each_turn_is_mended_for_itself(tmp_path: Path) -> None:
    messages = [
        {"role": "assistant", "content": "Hello."}, {"role": "developer", "content": "Be brief."}, USER, {"role": "user", "content": "Or not?"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "It", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": "is."}, {"role": "user", "content": "Nobody answers"}, {"role": "assistant", "content": ""},
        {"role": "user", "content": " "}, REPLY, {"role": "user", "content": "Last?"}, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}, {"type": "text", "text": "Yes."}]},
        {"role": "user", "content": "No more"},
    ]  # fmt: skip
    (one,) = found(tmp_path, messages)
    assert talk(one) == [("What is it?\n\nOr not?", "It\n\nis."), ("Last?", "Yes.")]
    assert left_out_line(one.left_out) == (
        "left out: 1 thinking block, 1 system message, 1 part of an unknown kind, 2 replies without a question,"
        " 2 questions without a reply"
    )
    assert "cache_control" not in one.turns[0].wire


def test_pictures_come_along_where_the_file_has_them(tmp_path: Path) -> None:
    data = f"data:image/png;base64,{PNG}"
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "This?"}, {"type": "image_url", "image_url": {"url": data}}]}, REPLY,
        {"role": "user", "content": [{"type": "text", "text": "And that?"}, {"type": "image_url", "image_url": {"url": "http://a.test/x.png"}}]}, REPLY,
        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://a.test/x.png"}}]}, REPLY,
        {"role": "user", "content": [{"type": "image", "image": data}, {"type": "document", "source": {"type": "file", "file_id": "f"}}]}, REPLY,
    ]  # fmt: skip
    (one,) = found(tmp_path, messages)
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert [turn.messages[0].to_wire()["content"] for turn in one.turns] == [
        [{"type": "text", "text": "This?"}, picture],
        "And that?",
        [picture],
    ]
    assert (
        left_out_line(one.left_out)
        == "left out: 1 attachment that the file only names, 2 attachments given by their addresses, 1 reply without a question"
    )


# ---- trees


def test_of_chatgpts_tree_the_branch_that_was_shown_is_read(tmp_path: Path) -> None:
    tree = chatgpt(
        node("s", "root", "system", ""), node("c", "s", "user", {"content_type": "user_editable_context", "user_profile": "me"}),
        node("u1", "c", "user", {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer", "asset_pointer": "f"}, "What is it?"]}),
        node("old", "u1", "assistant", "Eleven."), node("t", "u1", "assistant", {"content_type": "thoughts", "thoughts": []}),
        node("k", "t", "assistant", {"content_type": "code", "text": "1 + 11"}, recipient="python"), node("r", "k", "tool", "12"),
        node("a1", "r", "assistant", "Twelve."), node("a2", "a1", "assistant", "Surely."),
        node("h", "a2", "user", "hidden", metadata={"is_visually_hidden_from_conversation": True}),
        node("u2", "h", "user", {"content_type": "multimodal_text", "parts": [{"content_type": "audio_transcription", "text": "Said."}]}),
        node("a3", "u2", "assistant", "Heard."), current_node="a3",
    )  # fmt: skip
    (one,) = found(tmp_path, [tree])
    assert talk(one) == [("What is it?", "Twelve.\n\nSurely."), ("Said.", "Heard.")]
    assert left_out_line(one.left_out) == (
        "left out: 1 message of another branch, 1 attachment that the file only names, 1 system message, 1 thinking block, 1 tool call, 1 hidden message"
    )
    del tree["current_node"]  # then it is the last one that nothing follows
    assert talk(found(tmp_path, [tree])[0])[-1] == ("Said.", "Heard.")
    tree["mapping"]["u1"]["parent"] = "a3"  # round and round
    tree["current_node"] = "a3"
    assert talk(found(tmp_path, [tree])[0])[-1] == ("Said.", "Heard.")


def test_claude_ais_messages(tmp_path: Path) -> None:
    def message(key: str, parent: str | None, sender: str, *content: Any, **more: Any) -> dict[str, Any]:
        blocks = [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]
        return {"uuid": key, "sender": sender, "text": "", "content": blocks, "parent_message_uuid": parent, **more}

    calls = [
        "I look.", {"type": "tool_use", "name": "search", "input": {"q": "x"}}, {"type": "tool_result", "content": [{"type": "text", "text": "12"}]},
        {"type": "thinking", "thinking": "Hm."}, "Twelve.",
    ]  # fmt: skip
    chat = [
        message("1", None, "human", "What is it?", attachments=[{"file_name": "a.csv", "extracted_content": "n\n12"}], files=[{"file_name": "x.png"}]),
        message("2", "1", "assistant", "Eleven."), message("3", "1", "assistant", *calls), message("4", "3", "human", "Sure?"), message("5", "4", "assistant", "Yes."),
    ]  # fmt: skip
    (one,) = found(tmp_path, [{**CLAUDE_AI, "chat_messages": chat, "current_leaf_message_uuid": "5"}])
    assert talk(one) == [
        ("What is it?\n\na.csv:\nn\n12", "I look.\n\n> search(q='x') → 12\n\nTwelve."),
        ("Sure?", "Yes."),
    ]
    assert (
        left_out_line(one.left_out)
        == "left out: 1 message of another branch, 1 attachment that the file only names, 1 thinking block"
    )
    for each in chat:  # an older export: no tree, and an edited question comes twice
        del each["parent_message_uuid"]
    (one,) = found(tmp_path, [{"name": "", "chat_messages": [chat[0], chat[3], *chat[1:2]]}])
    assert talk(one) == [("What is it?\n\na.csv:\nn\n12\n\nSure?", "Eleven.")]


def test_open_webuis_chats(tmp_path: Path) -> None:
    chat = copy.deepcopy(OPEN_WEBUI)
    messages = chat["chat"]["history"]["messages"]  # type: ignore[index]
    messages["a0"] = {**messages["a1"], "id": "a0", "content": "Eleven."}
    messages["a1"]["content"] = (
        '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> Hm.\n</details>\nTwelve.'
    )
    messages["u1"]["files"] = [{"type": "image", "url": f"data:image/png;base64,{PNG}"}, {"type": "file", "id": "f"}]
    chat["chat"]["system"] = "Be brief."  # type: ignore[index]
    (one,) = found(tmp_path, [chat])
    assert talk(one) == BOTH
    assert [block["type"] for block in one.turns[0].messages[0].content] == ["image", "text"]
    assert left_out_line(one.left_out) == (
        "left out: 1 message of another branch, 1 system message, 1 attachment that the file only names, 1 thinking block"
    )
    assert talk(found(tmp_path, [{"chat": {"messages": [USER, REPLY]}}])[0]) == BOTH


def test_librechats_messages(tmp_path: Path) -> None:
    chat = copy.deepcopy(LIBRECHAT)
    first, second = chat["messages"]
    chat["messages"] = [
        first, {**second, "messageId": "0", "text": "Eleven."}, {**second, "content": [
            {"type": "think", "think": "Hm."}, {"type": "text", "text": "I look."},
            {"type": "tool_call", "tool_call": {"name": "stock", "args": '{"item": "lamp"}', "output": "12"}}, {"type": "text", "text": "Twelve."},
        ]},
    ]  # fmt: skip
    (one,) = found(tmp_path, chat)
    assert talk(one) == [("What is it?", "I look.\n\n> stock(item='lamp') → 12\n\nTwelve.")]
    assert left_out_line(one.left_out) == "left out: 1 message of another branch, 1 thinking block"


def test_lines_of_gptme(tmp_path: Path) -> None:
    data = lines(
        {"role": "system", "content": "You are", "timestamp": "2026-01-02T03:04:05+00:00"},
        {"role": "user", "content": "What is it?", "timestamp": "2026-01-02T03:04:06+00:00", "files": ["/abs/x.png"]},
        {
            "role": "assistant",
            "content": "Twelve.",
            "timestamp": "2026-01-02T03:04:07+00:00",
            "metadata": {"model": "m"},
        },
    )
    (one,) = found(tmp_path, data, "conversation.jsonl")
    assert talk(one) == BOTH
    assert one.date == pytest.approx(1767323047)
    assert left_out_line(one.left_out) == "left out: 1 system message, 1 attachment that the file only names"


# ---- anything at all

SAMPLES: list[Any] = [[CHATGPT], [CLAUDE_AI], [OPEN_WEBUI], LIBRECHAT, LIBRECHAT_TREE, {"messages": CALLS}, CALLS]
ODD = [
    None,
    True,
    0,
    -1.5,
    1e308,
    "",
    "x",
    "\ud800",
    [],
    {},
    [None],
    {"a": []},
    [[]],
    {"type": "text"},
    "assistant",
    "user",
    10**400,
]


def mutated(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.06:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {name: mutated(part, chance) for name, part in value.items() if chance.random() > 0.03}
    return [mutated(part, chance) for part in value] if isinstance(value, list) else value


@given(seed=st.integers(0, 2**32), sample=st.sampled_from(SAMPLES))
@settings(max_examples=600, deadline=None)
def test_whatever_a_file_holds_it_is_read_or_refused(seed: int, sample: Any) -> None:
    data = json.loads(json.dumps(mutated(sample, random.Random(seed))))
    for reading in read.FORMS:
        if found := reading(data):
            for source in found:
                turns, left_out = read.turns_of(source)
                left_out_line(left_out)
                for turn in turns:
                    assert turn.is_whole
                    assert turn.reply.strip()
                    for message in turn.messages:
                        json.dumps(message.to_wire(), allow_nan=False).encode()
                        assert isinstance(message, Message)
            break
