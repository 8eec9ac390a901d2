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


# ---- what the second round of readers tried

JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + b"\0" * 60).decode()


@pytest.mark.parametrize(
    "messages",
    [
        [USER, said("assistant", use("t", "f", {"x": 1e999})), said("user", gives("t")), REPLY],
        [USER, said("assistant", use("x" * 256)), said("user", gives("x" * 256)), REPLY],
        [said("user", "x", {"type": "document", "title": "t\ud800" + "x" * 600, "context": " ", "source": {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(b"%PDF-1.7").decode()}}), REPLY],
        [USER, said("assistant", use("t")), said("user", gives("t", ["LOST1", "LOST2"])), REPLY],
        [USER, said("assistant", use("t")), said("user", gives("t", {"x": "LOST"})), REPLY],
        [{"role": "user", "content": {"type": "text", "text": "Hello"}}, {"role": "assistant", "content": ["Hello", "there"]}],
        [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]}, {"role": "tool", "tool_call_id": "a", "content": "1"}, REPLY],
    ],
)  # fmt: skip
def test_more_that_is_imported_can_be_sent(sent: Callable[[Any], list[dict[str, Any]]], messages: Any) -> None:
    before = json.dumps(sent(messages), allow_nan=False)
    assert "\\ud800" not in before
    for word in ("LOST1", "LOST2", "LOST", "Hello", "there", "SELECT 1"):
        assert word in before or word not in json.dumps(messages)


def test_pictures_are_what_their_bytes_say(sent: Callable[[Any], list[dict[str, Any]]]) -> None:
    def address(media: str, data: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": f"data:{media};base64,{data}"}}

    svg = base64.b64encode(b"<svg></svg>").decode()
    pictures = [
        address("image/png", JPEG),
        address("image/jpg", JPEG),
        address("image/png;charset=utf-8", PNG),
        address("image/png", svg),
    ]
    (question, _) = sent([said("user", "These?", *pictures), REPLY])
    kinds = [block["source"]["media_type"] for block in question["content"] if block["type"] == "image"]
    assert kinds == ["image/jpeg", "image/jpeg", "image/png"]


@pytest.mark.parametrize(
    ("data", "expected", "missing"),
    [
        ([USER, said("assistant", "I look.", {"type": "thinking", "thinking": "Hm."}, "Found it.")], [("What is it?", "I look.\n\nFound it.")], "1 thinking block"),
        ([said("user", {"type": "image", "source": {"type": "file", "file_id": "f"}}), REPLY], [("⟨image⟩", "Twelve.")], "1 attachment that the file only names"),
        ([{"type": "meta"}, USER, REPLY], [("What is it?", "Twelve.")], "1 part of an unknown kind"),
        ([USER, {**REPLY, "refusal": "Not more."}], [("What is it?", "Twelve.Not more.")], ""),
        ([{"role": "user", "content": "", "parts": [{"type": "text", "text": "Q"}]}, REPLY], [("Q", "Twelve.")], ""),
        ([{**CLAUDE_AI, "chat_messages": [{"sender": "human", "text": "", "attachments": [{"file_name": "p.txt", "extracted_content": "PASTED"}]}, {"sender": "assistant", "text": "A"}, {"sender": "robot", "text": "?"}]}],
         [("p.txt:\nPASTED", "A")], "1 part of an unknown kind"),
        ([chatgpt(node("u", "root", "user", "Draw a cat"), node("c", "u", "assistant", {"content_type": "code", "text": "draw"}, recipient="dalle"), node("t", "c", "tool", {"parts": [{"content_type": "image_asset_pointer"}]}),
                  node("u2", "t", "user", "Nice"), node("a2", "u2", "assistant", "Thanks."))],
         [("Draw a cat", "⟨image⟩"), ("Nice", "Thanks.")], "1 attachment that the file only names, 1 tool call"),
        ({**LIBRECHAT, "messages": [{"messageId": "1", "isCreatedByUser": True, "text": "Q"}, {"messageId": "2", "parentMessageId": "1", "isCreatedByUser": False, "text": "A", "content": [{"type": "think", "think": "Hm."}]}]},
         [("Q", "A")], "1 thinking block"),
        ({**LIBRECHAT, "messages": [{"messageId": "1", "isCreatedByUser": True, "text": "Q", "createdAt": "2026-01-01T00:00:00Z"}, {"messageId": "2", "parentMessageId": "1", "isCreatedByUser": False, "text": "A", "createdAt": "2026-01-01T00:00:01Z"},
                                   {"messageId": "3", "isCreatedByUser": True, "text": "Q edited", "createdAt": "2026-01-01T00:00:02Z"}]},
         [("Q", "A")], "1 message of another branch"),
    ],
)  # fmt: skip
def test_more_is_not_left_out_in_silence(
    tmp_path: Path, data: Any, expected: list[tuple[str, str]], missing: str
) -> None:
    (one,) = found(tmp_path, data)
    assert talk(one) == expected
    assert left_out_line(one.left_out).removeprefix("left out: ") == missing


def test_examples_of_html_in_a_reply_stay(tmp_path: Path) -> None:
    chat = json.loads(json.dumps(OPEN_WEBUI))
    message = chat["chat"]["history"]["messages"]["a1"]
    for text in (
        'Use `<details type="reasoning">` and close with `</details>` please.',
        "<details " * 20_000,
        '<details type="x">' * 4_000,
    ):
        message["content"] = text
        (one,) = found(tmp_path, [chat])
        assert one.turns[0].reply == text
    twice = json.dumps(json.dumps({"item": "é"})).replace('"', "&quot;")
    message["content"] = (
        f'<details type="tool_calls" name="stock" arguments="{twice}" result="&quot;12&quot;">\n</details>\nSo.'
    )
    (one,) = found(tmp_path, [chat])
    assert one.turns[0].reply == "> stock(item='é') → 12\n\nSo."


def test_archives_with_uploads_and_halves(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "uploads.zip", "w") as archive:
        archive.writestr("conversations.json", json.dumps([CHATGPT]))
        archive.writestr("file-1.json", b'{"\xe9": 1}')
        archive.writestr("train.jsonl", json.dumps({"messages": [USER, REPLY]}))
    assert [one.title for one in conversations.read(tmp_path / "uploads.zip")] == ["eda"]
    with zipfile.ZipFile(tmp_path / "cut.zip", "w") as archive:
        archive.writestr("conversations-000.json", json.dumps([CHATGPT])[:-9])
        archive.writestr("conversations-001.json", json.dumps([CHATGPT]))
    with pytest.raises(ConfigError, match=r"it is not JSON .*, in conversations-000\.json"):
        conversations.read(tmp_path / "cut.zip")
    (tmp_path / "half.zip").write_bytes((tmp_path / "uploads.zip").read_bytes()[:200])
    with pytest.raises(ConfigError, match="the archive is damaged"):
        conversations.read(tmp_path / "half.zip")


@pytest.mark.slow
def test_large_conversations_are_read(tmp_path: Path) -> None:
    steps = [
        message
        for at in range(10_000)
        for message in (said("assistant", use("same")), said("user", gives("same", f"r{at}")))
    ]
    (one,) = found(tmp_path, [USER, *steps, REPLY])
    assert len(one.turns[0].messages) == 20_002
    (one,) = found(tmp_path, [USER] * 20_000 + [REPLY] * 20_000)
    assert len(one.turns[0].question.split("\n\n")) == 20_000
    same = [{**CHATGPT, "title": "New chat"}] * 3_000
    (tmp_path / "many.json").write_text(json.dumps(same))
    made = conversations.load(tmp_path / "many.json", "all", pick="all")
    assert [one.name for one in made[:3]] == ["all/New chat", "all/New chat (2)", "all/New chat (3)"]
    assert len({one.name for one in made}) == 3_000


def test_paths_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("talk", ("Q", "A"))
    (tmp_path / "d").mkdir()
    for name, why in (
        ("d", "is a folder"),
        ("no/x.md", "No such file"),
        ("a\0b.md", "null"),
        ("a\ud800.md", "encode|surrogate"),
    ):
        with pytest.raises(ConfigError, match=why):
            conversations.export(f"{tmp_path}/{name}", name="talk", overwrite=True)
    path = conversations.export(tmp_path / "old.md", name="talk")
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        conversations.export(path, name="talk", overwrite=True)
    assert path.read_text() == before
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*"))


def test_only_what_has_turns_is_kept(tmp_path: Path) -> None:
    both = found(tmp_path, [CHATGPT, chatgpt(title="empty")])
    assert [one.name for one in conversations.keep(both, "a", is_prefix=True)] == ["a/eda"]
    with pytest.raises(ConfigError, match="there are 2 conversations with turns"):
        conversations.keep([both[0]] * 2, "b")
    with pytest.raises(ConfigError, match="there is no conversation with turns"):
        conversations.keep(both[1:], "b")
    assert conversations.names() == ["a/eda"]
