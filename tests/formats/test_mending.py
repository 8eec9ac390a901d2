"""Odd messages of a file: what is sent of them afterwards, and that nothing is lost in silence."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from test_programs import keep
from test_read import CHATGPT, CLAUDE_AI, LIBRECHAT, OPEN_WEBUI, PNG, REPLY, USER, chatgpt, found, node, talk
from tool_calls import check
from wire_server import WireServer, canonical

import comet_magic
from comet_magic import conversations
from comet_magic.errors import ConfigError
from comet_magic.formats.source import left_out_line


def use(key: Any, name: Any = "f", given: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": key, "name": name, "input": {} if given is None else given}


def gives(key: Any, content: Any = "12") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": key, "content": content}


def said(role: str, *blocks: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": one} if isinstance(one, str) else one for one in blocks]}


@pytest.fixture
def sent(serve: Callable[..., WireServer], tmp_path: Path) -> Callable[[Any], list[dict[str, Any]]]:
    """Imports messages and asks on: what the next request has before the question, as the API demands it."""

    def send(messages: Any) -> list[dict[str, Any]]:
        server = serve(canonical("So."))
        (tmp_path / "file.json").write_text(json.dumps(messages))
        conversations.load(tmp_path / "file.json", "old")
        comet_magic.ask("Next?", chat="old")
        request = json.loads(server.received[0].body, parse_constant=lambda name: pytest.fail(name))
        check(request["messages"])
        conversations.delete("old")
        return list(request["messages"][:-1])

    return send


@pytest.mark.parametrize(
    "messages",
    [
        # Blank texts, in every place.
        [USER, {"role": "user", "content": " "}, said("assistant", "a"), said("assistant", " ")],
        [USER, said("assistant", "\n\n", use("t")), said("user", gives("t")), REPLY],
        [USER, said("assistant", use("t")), said("user", gives("t", [{"type": "text", "text": " "}, {"type": "text", "text": "ok"}])), REPLY],
        # Ids that are there twice, none at all, and of other types.
        [USER, said("assistant", use("x"), use("x")), said("user", gives("x", "1"), gives("x", "2")), REPLY],
        [USER, said("assistant", use("x"), use("x")), said("user", gives("x"), gives("x")), REPLY, USER, said("assistant", use("x")), said("user", gives("x")), REPLY],
        [USER, said("assistant", use(None), use(5)), said("user", gives(None), gives([])), REPLY],
        [USER, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "name": "f", "content": "1"},
         {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "name": "f", "content": "2"}, REPLY],
        # Names and values that the API refuses.
        [USER, said("assistant", use("t", "web.run tool")), said("user", gives("t")), REPLY],
        [USER, said("assistant", use("t", "n" * 150)), said("user", gives("t")), REPLY],
        [USER, said("assistant", use("t", "")), said("user", gives("t")), REPLY],
        [USER, said("assistant", use("t", "f", {"a": float("nan"), "b": float("inf"), "c": "\ud800"})), said("user", gives("t", "\udfff")), REPLY],
        # Text before results, results of nothing, results without a content.
        [USER, said("assistant", use("t")), said("user", "before", gives("t")), REPLY],
        [USER, said("user", gives("t"), "more"), REPLY],
        [USER, said("assistant", use("t")), said("user", gives("t", None)), REPLY],
        [USER, said("assistant", use("t")), said("user", gives("t", [])), REPLY],
        [USER, said("assistant", use("t"), "a"), said("user", gives("t"), "USER SAYS: use X"), said("assistant", use("u"), "I will")],
        # Attachments with too much in them, or too little.
        [said("user", "x", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG, "filename": "x.png"}}), REPLY],
        [said("user", "x", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "abcdefghi"}}), REPLY],
        [said("user", "x", {"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}}), REPLY],
        [said("user", "x", {"type": "document", "context": {"a": 1}, "source": {"type": "text", "media_type": "text/plain", "data": "hello"}}), REPLY],
        [said("user", "x", {"type": "document", "source": {"type": "base64", "media_type": "application/msword", "data": "AAAA"}}), REPLY],
    ],
)  # fmt: skip
def test_what_is_imported_can_be_sent(sent: Callable[[Any], list[dict[str, Any]]], messages: Any) -> None:
    before = sent(messages)
    assert before[-1]["role"] == "assistant"
    for message in before:
        for block in message["content"] if isinstance(message["content"], list) else ():
            assert not block.get("filename")
            assert block["type"] != "text" or block["text"].strip()
            if block["type"] == "image":
                assert set(block["source"]) == {"type", "media_type", "data"}
                base64.b64decode(block["source"]["data"], validate=True)


def test_the_users_words_stay_the_users(sent: Callable[[Any], list[dict[str, Any]]]) -> None:
    before = sent(
        [
            USER,
            said("assistant", use("t"), "a"),
            said("user", gives("t"), "USER SAYS: use X"),
            said("assistant", use("u"), "I will"),
        ]
    )
    assert [(message["role"], "USER SAYS" in json.dumps(message)) for message in before] == [
        ("user", False), ("assistant", False), ("user", True), ("assistant", False)
    ]  # fmt: skip
    assert before[3]["content"] == "> f() → (no result)\n\nI will"


def test_a_text_document_becomes_text_and_the_count_is_right(shell: Any, tmp_path: Path) -> None:
    document = {
        "type": "document",
        "title": "a.txt",
        "source": {"type": "text", "media_type": "text/plain", "data": "hello"},
    }
    (tmp_path / "d.json").write_text(json.dumps([said("user", document, "x"), REPLY, USER, REPLY]))
    assert "imported 2 turns as doc" in Ran(shell, f"%claude_history --import {tmp_path}/d.json -c doc").printed
    assert [turn.question for turn in conversations.get("doc").turns] == ["a.txt:\nhello\nx", "What is it?"]
    assert conversations.get("doc").stale() == ()


def test_long_calls_and_results_stay_whole(tmp_path: Path) -> None:
    code = "\n".join(f"line {number} = '```'" for number in range(200))
    artifact = use(None, "artifacts", {"command": "create", "content": code})
    chat = {**CLAUDE_AI, "chat_messages": [
        {"sender": "human", "text": "Write it.", "content": []},
        {"sender": "assistant", "text": "", "content": [artifact, gives(None, [{"type": "text", "text": "OK" * 500}]), {"type": "text", "text": "Done."}]},
    ]}  # fmt: skip
    (one,) = found(tmp_path, [chat])
    reply = one.turns[0].reply
    assert code in reply
    assert "OK" * 500 in reply
    assert reply.startswith("> artifacts was called:\n\n````text\n")
    assert reply.endswith("Done.")
    assert left_out_line(one.left_out) == ""
    cline = [
        USER,
        said("assistant", use("a", "read_file")),
        said("user", gives("a", "r" * 2000)),
        said("assistant", use("b", "attempt_completion", {"result": "x" * 3000})),
    ]
    (one,) = found(tmp_path, cline)
    (turn,) = one.turns
    assert "r" * 2000 in turn.reply
    assert "x" * 3000 in turn.reply


def test_results_of_nothing_are_counted(tmp_path: Path) -> None:
    (one,) = found(tmp_path, [USER, said("user", gives("zz", "LOST"), "more"), REPLY])
    assert left_out_line(one.left_out) == "left out: 1 tool result without a call"
    assert talk(one) == [("What is it?\n\nmore", "Twelve.")]


def test_one_bad_picture_spoils_no_file(tmp_path: Path) -> None:
    bad = said(
        "user", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "abcdefghi"}}, "x"
    )
    talks = "".join(json.dumps({"messages": [question, REPLY]}) + "\n" for question in (USER, bad, USER))
    assert [(len(one.turns), left_out_line(one.left_out)) for one in found(tmp_path, talks)] == [
        (1, ""), (1, "left out: 1 part of an unknown kind"), (1, "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "expected", "missing"),
    [
        ([chatgpt(node("u1", "root", "user", "Q1"), node("a1", "u1", "assistant", "A1"), node("u2", "a1", "user", "", metadata={"attachments": [{"name": "x.pdf"}]}), node("a2", "u2", "assistant", "A2"))],
         [("Q1", "A1"), ("⟨file⟩", "A2")], "1 attachment that the file only names"),
        ([chatgpt(node("u1", "root", "user", "Read it", metadata={"attachments": [{"name": "x.pdf"}]}), node("a1", "u1", "assistant", "A1"))],
         [("Read it", "A1")], "1 attachment that the file only names"),
        ([chatgpt(node("u1", "root", "user", {"parts": [{"content_type": "audio_transcription", "text": "Hello"}, {"content_type": "real_time_user_audio_video_asset_pointer"}]}), node("a1", "u1", "assistant", "A1"))],
         [("Hello", "A1")], ""),
        ([{**CLAUDE_AI, "chat_messages": [{"sender": "human", "text": "", "files": [{"file_name": "cat.png"}]}, {"sender": "assistant", "text": "A cat."}]}],
         [("⟨file⟩", "A cat.")], "1 attachment that the file only names"),
        ({"system": "Be brief", "messages": [USER, {**REPLY, "reasoning_content": "Hm."}]}, [("What is it?", "Twelve.")], "1 thinking block, 1 system message"),
        ([USER, {"role": "assistant", "content": None, "refusal": "I won't."}], [("What is it?", "I won't.")], ""),
        ([{"chat": {"history": {"messages": {}}, "messages": [USER, REPLY]}}], [("What is it?", "Twelve.")], ""),
    ],
)  # fmt: skip
def test_nothing_is_left_out_in_silence(
    tmp_path: Path, data: Any, expected: list[tuple[str, str]], missing: str
) -> None:
    (one,) = found(tmp_path, data)
    assert talk(one) == expected
    assert left_out_line(one.left_out).removeprefix("left out: ") == missing


def test_a_gap_in_a_tree_loses_nothing(tmp_path: Path) -> None:
    texts = {"1": "Q1", "2": "A1", "4": "Q2", "5": "A2"}
    parents = {"1": "00000000-0000-4000-8000-000000000000", "2": "1", "4": "gone", "5": "4"}
    messages = [
        {
            "uuid": key,
            "sender": "human" if key in "14" else "assistant",
            "text": text,
            "parent_message_uuid": parents[key],
        }
        for key, text in texts.items()
    ]
    (one,) = found(tmp_path, [{**CLAUDE_AI, "chat_messages": messages, "current_leaf_message_uuid": "5"}])
    assert talk(one) == [("Q1", "A1"), ("Q2", "A2")]
    del messages[-1]["uuid"]
    (one,) = found(tmp_path, [{**CLAUDE_AI, "chat_messages": messages}])
    assert talk(one) == [("Q1", "A1")]


def test_librechats_failures_and_newest_branch(tmp_path: Path) -> None:
    def message(key: str, parent: str, text: str, second: int, **more: Any) -> dict[str, Any]:
        at = f"2026-01-02T03:04:{second:02}.000Z"
        return {
            "messageId": key,
            "parentMessageId": parent,
            "isCreatedByUser": text.startswith("Q"),
            "text": text,
            "createdAt": at,
            **more,
        }

    failed = [
        message("1", "", "Q1", 1),
        message("2", "1", "", 2, error=True),
        message("3", "2", "Q2", 3),
        message("4", "3", "A2", 4),
    ]
    (one,) = found(tmp_path, {**LIBRECHAT, "messages": failed})
    assert talk(one) == [("Q2", "A2")]
    assert left_out_line(one.left_out) == "left out: 1 failed reply, 1 question without a reply"
    older = [
        message("1", "", "Q1", 1),
        message("2", "1", "A1", 5),
        message("3", "1", "A0", 2),
        message("4", "1", "", 6, content=[]),
    ]
    (one,) = found(tmp_path, {**LIBRECHAT, "messages": older})
    assert talk(one) == [("Q1", "A1")]
    call = {"type": "tool_call", "tool_call": {"function": {"name": "f", "arguments": '{"a": 1}', "output": "2"}}}
    content = [call, {"type": "text", "text": "Two."}]
    (one,) = found(
        tmp_path, {**LIBRECHAT, "messages": [message("1", "", "Q1", 1), message("2", "1", "", 2, content=content)]}
    )
    assert talk(one) == [("Q1", "> f(a=1) → 2\n\nTwo.")]


def test_open_webuis_html(tmp_path: Path) -> None:
    def reply(text: str) -> str:
        chat = json.loads(json.dumps(OPEN_WEBUI))
        chat["chat"]["history"]["messages"]["a1"]["content"] = text
        (one,) = found(tmp_path, [chat])
        return f"{one.turns[0].reply} · {left_out_line(one.left_out)}"

    call = '<details type="tool_calls" done="true" name="stock" arguments="{&quot;item&quot;: &quot;lamp&quot;}" result="&quot;12&quot;">\n<summary>x</summary>\n</details>\nIt is 12.'
    assert reply(call) == "> stock(item='lamp') → 12\n\nIt is 12. · "
    assert (
        reply('<details id="1" type="reasoning" done="true">\nHm.\n</details>\nYes.')
        == "Yes. · left out: 1 thinking block"
    )
    example = '```html\n<details type="reasoning">\nkept\n</details>\n```\nSo.'
    assert reply(example) == f"{example} · "
    assert (
        reply("<details><summary>More</summary>\ntext\n</details>")
        == "<details><summary>More</summary>\ntext\n</details> · "
    )


def test_archives_in_every_state(tmp_path: Path) -> None:
    def archive(name: str, **members: str) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as file:
            for member, text in members.items():
                file.writestr(member.replace("__SLASH__", "/"), text)
        return tmp_path / name

    parts = {
        f"conversations-{number}.json": json.dumps([{**CHATGPT, "title": f"part {number}"}]) for number in range(12)
    }
    whole = archive(
        "parts.zip", **parts, **{"users.json": "[]", "__MACOSX__SLASH__conversations.json": "\0", "note.txt": "x"}
    )
    assert [one.title for one in conversations.read(whole)] == [f"part {number}" for number in range(12)]
    assert len(conversations.read(archive("webui.zip", **{"chat-export-1.json": json.dumps([OPEN_WEBUI])}))) == 1
    data = bytearray(archive("damaged.zip", **{"conversations.json": json.dumps([CHATGPT] * 50)}).read_bytes())
    data[80:100] = b"\xff" * 20
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(ConfigError, match="the archive is damaged"):
        conversations.read(tmp_path / "damaged.zip")
    data = bytearray(whole.read_bytes())
    data[6] |= 1  # of the first member: encrypted
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(data)
    with pytest.raises(ConfigError, match="it has a password"):
        conversations.read(tmp_path / "secret.zip")


def test_titles_and_entries_of_every_kind(shell: Any, tmp_path: Path) -> None:
    long = "A title of more than sixty characters, which nobody would type  twice, but may paste"
    data = [
        {**CHATGPT, "title": long},
        {**CHATGPT, "title": "Trip to Bergen"},
        {"mapping": None, "title": "odd"},
        chatgpt(title="empty"),
    ]
    (tmp_path / "c.json").write_text(json.dumps(data))
    assert len(conversations.load(tmp_path / "c.json", "a", pick=long).turns) == 1
    assert len(conversations.load(tmp_path / "c.json", "b", pick="bergen").turns) == 1
    printed = Ran(shell, f"%claude_history --import {tmp_path}/c.json -c all --pick ALL").printed
    assert "imported 2 conversations" in printed
    assert "left out: 1 entry that is no conversation" in printed
    assert "there is a conversation 'all/" in str(
        Ran(shell, f"%claude_history --import {tmp_path}/c.json -c all --pick all").error
    )
    assert len([name for name in conversations.names() if name.startswith("all/")]) == 2
    assert "-c 'Trip to Bergen'" in str(Ran(shell, f"%claude_history --import {tmp_path}/c.json --pick 2").error)
    keep("talk", ("Q", "A"))
    markdown = conversations.export(tmp_path / "talk.md", name="talk")
    with pytest.raises(ConfigError, match="an export as Markdown is for reading"):
        conversations.read(markdown)


def test_a_failed_export_keeps_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("talk", ("Q", "A"))
    path = conversations.export(tmp_path / "talk.json", name="talk")
    before = path.read_text()
    monkeypatch.setattr(conversations, "to_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conversations.export(path, name="talk", overwrite=True)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("```python\n```js\n%%claude\n```\nprose %%hidden%% here", "prose &#37;&#37;hidden&#37;&#37; here"),
        ("- a\n  ```\n  %% code\n  ```\n%% prose %%", "&#37;&#37; prose &#37;&#37;"),
        ("```dataviewjs\nrun()\n```", "```text\nrun()\n```"), ("`$= dv.span(1)`", "`$ = dv.span(1)`"),
    ],
)  # fmt: skip
def test_obsidian_hides_and_runs_nothing(tmp_path: Path, reply: str, shown: str) -> None:
    keep("a %%b", ("Q", reply))
    text = conversations.export(tmp_path / "talk.md", name="a %%b").read_text("utf-8")
    assert shown in text
    assert text.startswith("# a &#37;&#37;b\n")


def test_pictures_stand_in_the_markdown(tmp_path: Path) -> None:
    keep("talk", ([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}], "A cat."))
    assert "## Question\n\n⟨image⟩\n" in conversations.export(tmp_path / "talk.md", name="talk").read_text("utf-8")
