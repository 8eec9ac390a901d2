"""Secrets taken out of what a prompt fills in: known ones wherever they stand, and what is shaped like a credential."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from .text import lazy_pattern

REDACTED = "[redacted]"
SHORTEST = 4  # characters; a shorter one would hide words and numbers everywhere
SHORTEST_WITHIN = 8  # below it, only as a word of its own

_WORD = r"(?:pass(?:word|wd|phrase)s?|secrets?|tokens?|credentials?|(?:api|secret|access|private|auth|openai)_?keys?)"
_SECRET_NAME = lazy_pattern(
    rf"{_WORD}(?:_?\d+|_(?:id|value|prod|dev|test|b64|json))?$|secret_|_secret|password_|connection_string"
    r"|(?:^|_)(?:key|pass|pw|pwd|pat|dsn|auth)(?:_?\d+)?$|_keys$|sshpass",
    re.I,
)
_NOT_SECRET = lazy_pattern(r"^(OLD)?PWD$|_?(SOCK|FILE|PATH|DIR|URL|NAME|TYPE)$|^GPG_KEY$", re.I)

# Sources: the providers' own pages on what their credentials look like.
_START = r"(?<![A-Za-z0-9])"
_SHAPES = lazy_pattern(
    "|".join(
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
            rf"{_START}sk-(?=[A-Za-z_-]{{0,60}}\d)[A-Za-z0-9_-]{{16,}}",  # Anthropic, OpenAI, CometAPI and others
            rf"{_START}(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{{16,}}",  # Stripe
            rf"{_START}(?:gh[pousr]_|hf_|gsk_|r8_)[A-Za-z0-9]{{30,}}",  # GitHub, Hugging Face, Groq, Replicate
            rf"{_START}(?:github_pat_|pypi-|glpat-|xai-|pplx-|GOCSPX-)[A-Za-z0-9_-]{{20,}}",
            r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])",  # AWS
            rf"{_START}AIza[A-Za-z0-9_-]{{35}}",  # Google
            rf"{_START}ya29\.[A-Za-z0-9_-]{{20,}}",
            rf"{_START}(?:xox[abeprs]|xapp)-[A-Za-z0-9-]{{10,}}",  # Slack
            r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}",
            rf"{_START}SG\.[A-Za-z0-9_-]{{16,}}\.[A-Za-z0-9_-]{{16,}}",  # SendGrid
            rf"{_START}(?:dapi|dop_v1_)[a-f0-9]{{32,}}",  # Databricks, DigitalOcean
            rf"{_START}npm_[A-Za-z0-9]{{36}}",
            rf"{_START}eyJ[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]*",  # JSON web tokens
            r"(?<=://)[^\s:/@]*:[^\s/@{}]{3,}(?=@)",  # a password in an address, and not f"{password}"
            r"(?<=://)[A-Za-z0-9_-]{16,}(?=@)",
            r"(?<=AccountKey=)[A-Za-z0-9+/=]{20,}",
            r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*|(?<=BEARER )[A-Za-z0-9._~+/-]{16,}=*",
            r"(?<=[Bb]asic )[A-Za-z0-9+/]{16,}=*",
        )
    )
)
# From the beginning of a word, and bounded: else a long word would be gone through from each of its letters.
_ASSIGNED_NAME = r"(?<![\w-])[\w-]{0,40}?(?:password|passwd|passphrase|secret|token|api[_-]?key)[\w-]{0,40}"
_FIELD = lazy_pattern(_ASSIGNED_NAME, re.I)
# password = "…", "api_key": "…", also escaped, and with b or f before it: in sources and in outputs
_ASSIGNED = lazy_pattern(
    rf"""({_ASSIGNED_NAME}\\?["']?\s{{0,20}}[:=]\s{{0,20}}[bru]{{0,2}})(\"\"\"|\'\'\'|\\?["'])(?:(?!\2)(?:\\.|[^\n\\]))+\2""",
    re.I,
)
# PASSWORD=…, password: …: alone on a line, as in settings files
_SET = lazy_pattern(
    rf"""^([ \t]*(?:export[ \t]+)?{_ASSIGNED_NAME}[ \t]*[:=][ \t]*)"""
    r"""(?!(?:str|int|float|bytes|bool|None|Any|True|False|null)\b)[^\s"'\[({]\S*(?=[ \t]*$)""",
    re.I | re.M,
)


def is_secret_name(name: str) -> bool:
    """Return whether a variable of this name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET.search(name)


def is_secret_field(name: str) -> bool:
    """Return whether the texts of a column or a field of this name are taken for secrets, as they are in a source."""
    return bool(_FIELD.search(name)) or name.strip().casefold() in ("pass", "pwd", "pw")


def looks_like_secret(text: str) -> bool:
    """Return whether a text is shaped like a credential, as where a key was pasted into the wrong field."""
    return bool(_SHAPES.search(text))


class Secrets:
    """Values that no text may carry out, in an object that does not show them: tracebacks print local variables."""

    __slots__ = ("__pattern",)

    def __init__(self, environ: Mapping[str, str], more: Callable[[], Iterable[str]] = tuple) -> None:
        """environ: those of its variables that are named like secrets.        more: returns further ones."""
        failure: BaseException | None = None
        try:
            named = (value for name, value in environ.items() if is_secret_name(name))
            self.__pattern = _pattern((*named, *more()))
        except Exception as error:  # noqa: BLE001  # raised below, where neither it nor its frames hold a secret
            failure = ValueError(f"a secret of the environment cannot be looked for: {type(error).__name__}")
        except BaseException as interrupt:  # noqa: BLE001  # the same
            failure = interrupt.with_traceback(None)
        if failure:
            raise failure

    def hidden_in(self, text: str) -> tuple[str, int]:
        """Return the text without them, and how often one stood in it."""
        return self.__pattern.subn(REDACTED, text) if self.__pattern else (text, 0)

    def __repr__(self) -> str:
        return "Secrets()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled")


def _pattern(known: tuple[str, ...]) -> re.Pattern[str] | None:
    usable = {form for secret in known if len(secret.strip()) >= SHORTEST for form in _forms(secret.strip())}
    longest_first = sorted(usable, key=lambda secret: (-len(secret), secret))
    within = [re.escape(secret) for secret in longest_first if len(secret) >= SHORTEST_WITHIN]
    words = [rf"(?<!\w){re.escape(secret)}(?!\w)" for secret in longest_first if len(secret) < SHORTEST_WITHIN]
    return re.compile("|".join([*within, *words])) if usable else None


def _forms(secret: str) -> set[str]:
    """Return the forms in which a secret may stand in a text: as it is, and as a repr or JSON writes it."""
    as_bytes = secret.encode(
        "utf-8", "surrogateescape" if any("\udc80" <= char <= "\udcff" for char in secret) else "replace"
    )
    as_read = as_bytes.decode("utf-8", "replace")  # of bytes that are no UTF-8
    forms = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], ascii(secret)[1:-1], repr(as_bytes)[2:-1], as_read}
    return {form for form in forms if form.strip("\ufffd")}


NO_SECRETS = Secrets({})


EDGE = 1000  # characters; a secret that a cut went through is hardly longer


def hidden_beginning(text: str, characters: int, hide: Callable[[str], str]) -> str:
    """Return the beginning of a text without secrets, which are taken out before it is cut."""
    seen = 2 * characters + 2 * EDGE
    hidden = hide(text[:seen])
    return (hidden if len(text) <= seen else hidden[:-EDGE])[:characters]


class Redactor:
    """Takes secrets out of texts: known ones, and what is shaped like a credential.

    count: how often it has taken one out. Lives for one question.
    """

    def __init__(self, known: Secrets = NO_SECRETS) -> None:
        self._known = known
        self.count = 0

    def known(self, text: str) -> str:
        """Return the text without the known secrets alone: for whoever must see all the rest."""
        return self._known.hidden_in(text)[0]

    def __call__(self, text: str) -> str:
        text, hits = self._known.hidden_in(text)
        self.count += hits
        patterns = [(_SHAPES, REDACTED), (_ASSIGNED, rf"\1\2{REDACTED}\2"), (_SET, rf"\1{REDACTED}")]
        for pattern, instead in patterns:
            before = text.count(REDACTED)
            text, hits = pattern.subn(instead, text)
            # What has been hidden may be hidden once more; it counts once.
            self.count += min(hits, text.count(REDACTED) - before)
        return text

    def __repr__(self) -> str:
        return "Redactor()"
