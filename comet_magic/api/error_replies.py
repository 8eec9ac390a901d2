"""An error reply → `APIError`, whatever shape it came in: no two gateways agree on one.

The sentence follows what the endpoint says, then its code, then the status. Sources: the shapes A to I that were met,
what the official client's types name, and the public reports that are named in the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import APIError
from ..named_tuple import NamedTuple
from ..strict_json import json_or_none
from ..text import lazy_pattern


class _Rule(NamedTuple):
    """What an error is about, by its words or its code; and what to do then. Asking again never helps."""

    about: str
    words: re.Pattern[str]
    codes: frozenset[str]
    hint: str


def _rule(about: str, words: str, codes: str, hint: str) -> _Rule:
    return _Rule(about, lazy_pattern(words, re.I), frozenset(codes.split()), hint)


_MODEL_HINT = "the endpoint does not offer this model: %claude_models lists what it does"
# The first that fits holds. Sources, in order: Cloudflare's challenge pages; MiniMax, GLM, Anthropic, new-api; the same
# and Copilot, LiteLLM, Azure, OpenAI; Anthropic, llama.cpp, OpenAI, vLLM.
_RULES = (
    _rule(
        "bot check",
        r"just a moment|attention required|checking your browser|verify(?:ing)? (?:that )?you are (?:a )?human|captcha",
        "",
        "a bot check protects the endpoint, and only a browser gets through: check CometSettings.endpoint, or use"
        " another network",
    ),
    _rule(
        "money",
        r"insufficient[ _](?:account )?(?:balance|credits?|funds|quota|user quota)|credit balance is too low"
        r"|out of credits?"
        r"|quota (?:is )?(?:not enough|exhausted|insufficient)|exceeded your current quota|no resource package"
        r"|please recharge|\btop[ -]?up\b|payment required"
        r"|(?:hard|spend(?:ing)?) limit|key limit exceeded|budget has been exceeded|budgetexceeded|usage limits?\b"
        r"|arrears|余额不足|欠费|额度(?:不足|已用尽|失败)",
        "insufficient_user_quota insufficient_quota pre_consume_token_quota_failed enforced_spend_limit_reached"
        " contract_spend_limit_reached billing_not_active billing_error credit_balance_too_low budget_exceeded"
        " exceeded_current_quota_error 1113 1008",
        "the account needs credit, or has met its spending limit",
    ),
    _rule(
        "model",
        r"model.{0,100}?(?:not[ _](?:supported|found|exist|available|offered|valid)|does not exist|is invalid)"
        r"|(?:invalid|unknown|no such|unsupported) model(?! (?:response|output|reply))"
        r"|无可用渠道|no available channel|no endpoints? found for"
        r"|模型不存在|模型.{0,8}不支持",
        "model_not_found model_not_supported invalid_model unknown_model deploymentnotfound 1211",
        _MODEL_HINT,
    ),
    _rule(
        "length",
        r"prompt is too long|context[ _](?:length|window|size|limit)|maximum context|too many (?:input )?tokens"
        r"|input (?:is )?too long|reduce the length|prompt exceeds|model token limit|range of input length"
        r"|prompt token count.{0,40}exceeds|maximum prompt length"
        r"|exceeds? (?:the )?(?:model's )?(?:maximum|available|max) (?:context|input|number of tokens)"
        r"|上下文.{0,6}(?:超|过长)|输入.{0,4}过长",
        "exceed_context_size_error context_length_exceeded string_above_max_length request_too_large",
        "the prompt is too long for the model: send less. --alone leaves out earlier turns, history_tokens bounds them,"
        " table_tokens and text_tokens bound values",
    ),
    _rule(
        "form",
        r"output_config|response_format|json[_ ]?schema|output format|structured output|tool_choice|input_schema"
        r"|does(?:n't| not) support (?:tools?|function)|tools?\b.{0,40}not (?:supported|allowed)",
        "",
        "",
    ),
)


def error_from(status: int, body: object, headers: Mapping[str, str] | None = None) -> APIError:
    """Return the `APIError` in an error reply: JSON of any shape that gateways send, an HTML page, text, or nothing.

    body: the decoded JSON, or the text that was not JSON.
    """
    sent = headers or {}
    fields = _error_fields(body)
    text = fields["message"]
    request_id = fields["request_id"] or next((sent[name] for name in _ID_HEADERS if sent.get(name)), None)
    if not request_id and (in_text := re.search(r"\(request id: ([^)\s]+)\)", text)):
        request_id = in_text[1]
    kind, code = fields["type"], fields["code"]
    named = (code if code != str(status) else None) or kind or ""
    head = " ".join(part for part in (str(status) if status >= 300 else "", named) if part)  # a 200 says nothing
    what = f"{head}: {text}" if head else text
    if request_id and request_id not in what:
        what += f" (request id: {request_id})"
    rule = _rule_of(text, code, kind, sent, is_busy_status=status in (200, 408, 429) or status >= 500)
    hint = rule.hint if rule and rule.hint else _hint(status, kind, code)
    about = rule.about if rule else ""
    return APIError(what, hint, status=status, type=kind, code=code, request_id=request_id, about=about)


def _rule_of(
    text: str, code: str | None, kind: str | None, headers: Mapping[str, str], *, is_busy_status: bool
) -> _Rule | None:
    if headers.get("cf-mitigated") == "challenge":
        return _RULES[0]
    names = {name.lower() for name in (code, kind) if name}
    by_code = next((rule for rule in _RULES if rule.codes & names), None)
    # Whoever says that it goes by, with a status that says so, too, means no more than that.
    if by_code or (is_busy_status and _PASSES.search(text)):
        return by_code
    return next((rule for rule in _RULES if rule.words.search(text)), None)


_PASSES = lazy_pattern(
    r"try again|retry (?:in|after|later)|please (?:wait|retry)|high demand|temporar|overloaded|too many requests"
    r"|rate.?limit|right now|at the moment|currently",
    re.I,
)


_ID_HEADERS = ("request-id", "x-request-id", "x-oneapi-request-id")
_MESSAGES = ("message", "msg", "detail", "error_description", "status_msg", "error", "errors", "reason", "raw", "title")
_INNER = ("error", "metadata", "base_resp", "details", "data", "response")
MOST_MESSAGES = 5


def says_what_is_wrong(body: object) -> bool:
    """Return whether a JSON object that came with a 200, and is no reply, is an error all the same."""
    known = {"content", "choices", "delta", "index", "content_block"}
    if not isinstance(body, Mapping) or known & body.keys() or str(body.get("type", "")).startswith(_EVENTS):
        return False
    if isinstance(body.get("message"), Mapping):  # as of `message_start`
        return False
    return bool(body.get("errors") or body.get("base_resp") or any(body.get(name) for name in _MESSAGES))


_EVENTS = ("message_", "content_block_", "ping")


def _error_fields(body: object) -> dict[str, Any]:
    fields: dict[str, Any] = {"message": "", "type": None, "code": None, "request_id": None}
    body = body if (inner := _inner_json(body)) is None else inner
    if isinstance(body, str):
        fields["message"] = _page_title(body)
        return fields
    for part in _parts(body):
        fields["type"] = fields["type"] or _word(part.get("type"))
        code = next((part[name] for name in ("code", "error_code", "status_code", "errcode") if part.get(name)), None)
        fields["code"] = fields["code"] or _word(code)
        fields["request_id"] = fields["request_id"] or _word(part.get("request_id"))
    fields["message"] = _cut(
        "; ".join(dict.fromkeys(_sentences(body))) or json.dumps(body, ensure_ascii=False, default=str)
    )
    return fields


def _inner_json(text: object) -> dict[str, Any] | list[Any] | None:
    """Return the object or list in a text that is JSON; None for any other text, and for what is no text."""
    is_json = isinstance(text, str) and text.lstrip()[:1] in ("{", "[")
    value = json_or_none(text) if is_json else None  # type: ignore[arg-type]  # it is a text then
    return value if isinstance(value, dict | list) else None


def _parts(value: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in which an error may say something, the innermost last; also those that are JSON in a text."""
    value = value if (inner_value := _inner_json(value)) is None else inner_value
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, Mapping)), None)
    if not isinstance(value, Mapping) or depth > 5:
        return
    inner = [value[name] for name in (*_INNER, *_MESSAGES) if isinstance(value.get(name), Mapping | str | list)]
    if isinstance(value.get("error"), Mapping):  # what stands around it is only its envelope
        yield from _parts(value["error"], depth + 1)
        yield {name: word for name, word in value.items() if name == "request_id"}
        return
    yield value
    for part in inner:
        yield from _parts(part, depth + 1)


def _sentences(value: object, depth: int = 0) -> Iterator[str]:
    """Yield what an error says: its innermost sentence, or each of a list of them with its place."""
    if isinstance(value, str):
        if (inner := _inner_json(value)) is not None:
            yield from _sentences(inner, depth + 1)
        elif value.strip():
            yield " ".join(value.split())
    elif isinstance(value, list) and depth < 6:
        for item in value[:MOST_MESSAGES]:
            yield from _sentences(item, depth + 1)
        if len(value) > MOST_MESSAGES:
            yield f"and {len(value) - MOST_MESSAGES:,} more"
    elif isinstance(value, Mapping) and depth < 6:
        location = value.get("loc")
        said = [text for name in (*_MESSAGES, *_INNER) for text in _sentences(value.get(name), depth + 1)]
        deeper = [text for name in ("metadata", "base_resp") for text in _sentences(value.get(name), depth + 1)]
        said = list(dict.fromkeys(said))
        if isinstance(location, list | tuple) and said:  # the field, and never what stood in it
            yield f"{'.'.join(map(str, location))}: {said[0]}"
        else:
            # A gateway's own words stand first; what is behind them says why.
            yield from [text for text in said if text not in deeper][:2] + deeper[:2] if deeper else said[:3]


def _word(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and str(value) else None


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:500]}…"


def _page_title(text: str) -> str:
    """Return what a page that is not JSON says, in a few words: an HTML page's title, else its beginning."""
    if "<" in text[:200]:
        title = re.search(r"<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>", text[:50_000], re.I | re.S)
        from html import unescape  # not at the top: it is for pages

        words = re.sub(r"<[^>]*>", " ", (title[1] or title[2] or "") if title else "")
        return _cut(unescape(words)) if words.strip() else "a page of HTML without a title"
    return _cut(text) if text.strip() else "no text came with it"


def _hint(status: int, kind: str | None, code: str | None) -> str:
    if kind == "not_found_error" and status != 404:
        return _MODEL_HINT
    match status:
        case 500 if "invalid_request" not in f"{kind} {code}":
            pass
        case 400 | 422 | 500:
            return "the endpoint refuses what was asked: look at the flags and settings that it names"
        case 401:
            return "the key was rejected: check COMETAPI_KEY, or enter another one with %claude_key"
        case 402:
            return "the account needs credit"
        case 403:
            return "the key is not allowed to do this: check the account's access to the model"
        case 404 | 405:
            return "check CometSettings.endpoint: it is the base URL, without /v1/messages"
        case 413:
            return "the request is too large: send less text or fewer images"
        case 429:
            return "too many requests: wait a little and run the cell again"
    return "the endpoint is in trouble: run the cell again in a little while" if status >= 500 or status == 408 else ""
