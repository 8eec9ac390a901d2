"""The flags of the cells and lines that make pictures, sound, film and transcripts."""

from __future__ import annotations

from functools import cache
from typing import Any

from .flags import Flags, name_of_variable, not_empty, number

KINDS = {
    "%%comet_image": "image", "%%comet_speech": "speech", "%comet_transcribe": "transcript", "%%comet_music": "music",
    "%%comet_video": "video",
}  # fmt: skip
_BELOW = "the prompt goes below the line"


MAGICS = tuple(KINDS)


@cache
def media_parser(magic: str) -> Flags:
    """Return the parser of one of `MAGICS`."""
    is_transcript = magic == "%comet_transcribe"
    about = "it takes the path of one file, in quotes where that has blanks" if is_transcript else _BELOW
    parser = Flags(magic, description=about, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    if is_transcript:
        add("file", nargs="?")
    add("-m", "--model", type=not_empty)
    add("-o", "--into", type=name_of_variable)
    _OF[magic](add)
    add("--set", action="append", type=_pair, metavar="NAME=VALUE")
    if not is_transcript:
        add("--literal", action="store_true")
    add("--fresh", action="store_true")
    add("--dry-run", action="store_true")
    add("-h", "--help", action="store_true")
    return parser


def _pair(text: str) -> tuple[str, Any]:
    """Return a parameter of the endpoint's by its name, its value as JSON where it is such."""
    from ..strict_json import json_or_none

    name, found, value = text.partition("=")
    if not found or not name.isidentifier():
        raise _argument_error(f"{text!r} is not NAME=VALUE")
    parsed = json_or_none(value)
    return name, value if parsed is None and value != "null" else parsed


def _argument_error(what: str) -> Exception:
    import argparse

    return argparse.ArgumentTypeError(what)


def _apis(kind: str) -> tuple[str, ...]:
    from ..media.model import APIS

    return APIS[kind]


def _image(add: Any) -> None:
    add("-n", "--n", type=number(int, 1, 10))
    add("--size")
    add("--quality")
    add("--format", dest="output_format")
    add("--background")
    add("--mask", type=not_empty)
    add("--api", choices=_apis("image"))


def _speech(add: Any) -> None:
    add("--voice", type=not_empty)
    add("--format", dest="response_format", metavar="FORMAT")
    add("--speed", type=number(float, 0.25, 4))
    add("--instructions")


def _transcript(add: Any) -> None:
    add("--segments", action="store_true")
    add("--format", choices=("srt", "vtt"))
    add("--translate", action="store_true")
    add("--language")
    add("--prompt")


def _music(add: Any) -> None:
    add("--lyrics")
    add("--title")
    add("--tags")
    add("--instrumental", action="store_true")


def _video(add: Any) -> None:
    add("--seconds", type=number(float, 0))
    add("--size")
    add("--api", choices=_apis("video"))


_OF = {
    "%%comet_image": _image, "%%comet_speech": _speech, "%comet_transcribe": _transcript, "%%comet_music": _music,
    "%%comet_video": _video,
}  # fmt: skip


@cache
def jobs_parser() -> Flags:
    """Return the parser of `%comet_jobs`."""
    parser = Flags("%comet_jobs", description="it takes --all, or --drop and the id of a job", add_help=False,
                   allow_abbrev=False)  # fmt: skip
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--drop", metavar="ID", type=not_empty)
    parser.add_argument("-h", "--help", action="store_true")
    return parser


@cache
def resume_parser() -> Flags:
    """Return the parser of `%comet_resume`."""
    parser = Flags("%comet_resume", description="it takes the id of one job", add_help=False, allow_abbrev=False)
    parser.add_argument("job", nargs="?")
    parser.add_argument("-o", "--into", type=name_of_variable)
    parser.add_argument("-h", "--help", action="store_true")
    return parser


def media_flags(magic: str, line: str) -> dict[str, Any]:
    """Return the flags of a line, without those that were not given. Raises: ConfigError for whatever is no flag."""
    flags = vars(media_parser(magic).flags_of(line))
    pairs = dict(flags.pop("set") or ())
    known = {name: value for name, value in flags.items() if value is not None and value is not False}
    if (seconds := known.get("seconds")) is not None:
        known["seconds"] = f"{seconds:g}"
    return {**known, "set": pairs}
