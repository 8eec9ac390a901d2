"""Secrets taken out of what a prompt fills in: known ones wherever they stand, and what is shaped like a credential."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

REDACTED = "[redacted]"
SHORTEST = 4  # characters; a shorter one would hide words and numbers everywhere
SHORTEST_WITHIN = 8  # below it, only as a word of its own

_SECRET_NAME = re.compile(
    r"(^|_)(key|apikey|token|secret|password|passwd|passphrase|pwd|credentials?|pat|auth|dsn)(_?\d*)($|_)", re.I
)
_NOT_SECRET = re.compile(r"^(OLD)?PWD$|_?(SOCK|FILE|PATH|DIR|ID|URL|NAME|TYPE)$|^GPG_KEY$", re.I)

# Sources: the providers' own pages on what their credentials look like.
_SHAPES = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}",  # Anthropic, OpenAI, CometAPI and others
            r"(?<![A-Za-z0-9])(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}",  # Stripe
            r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{30,}",
            r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{30,}",
            r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,}",
            r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])",  # AWS
            r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}",  # Google
            r"(?<![A-Za-z0-9])ya29\.[A-Za-z0-9_-]{20,}",
            r"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack
            r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}",
            r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}",
            r"(?<![A-Za-z0-9])pypi-[A-Za-z0-9_-]{50,}",
            r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # JSON web tokens
            r"(?<=://)[^\s:/@]*:[^\s/@]{3,}(?=@)",  # a password in an address
            r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*",
        )
    )
)
# password = "…", "api_key": "…": in sources and in outputs
_ASSIGNED = re.compile(
    r"""((?:password|passwd|passphrase|secret|token|api_?key)["']?\s*[:=]\s*)(["'])(?!\2)[^"'\n]+\2""", re.I
)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET.search(name)


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    return {value for name, value in environ.items() if is_secret_name(name)}


class Redactor:
    """Takes secrets out of texts. known: their values; kept out of its repr."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        usable = sorted({secret.strip() for secret in known if len(secret.strip()) >= SHORTEST}, key=len, reverse=True)
        within = [re.escape(secret) for secret in usable if len(secret) >= SHORTEST_WITHIN]
        words = [rf"(?<!\w){re.escape(secret)}(?!\w)" for secret in usable if len(secret) < SHORTEST_WITHIN]
        self.__known = re.compile("|".join([*within, *words])) if usable else None

    def __call__(self, text: str) -> str:
        if self.__known:
            text = self.__known.sub(REDACTED, text)
        text = _SHAPES.sub(REDACTED, text)
        return _ASSIGNED.sub(rf"\1\2{REDACTED}\2", text)

    def __repr__(self) -> str:
        return "Redactor()"
