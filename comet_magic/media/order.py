"""What is to be made: an `Order`, the same for a cell and for a call, and the same at each run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ..named_tuple import NamedTuple

IMAGE, SPEECH, TRANSCRIPT, MUSIC, VIDEO = "image", "speech", "transcript", "music", "video"
# What each is called in a sentence: one of it, and more.
NOUNS = {
    IMAGE: ("picture", "pictures"), SPEECH: ("sound", "sounds"), TRANSCRIPT: ("transcript", "transcripts"),
    MUSIC: ("song", "songs"), VIDEO: ("film", "films"),
}  # fmt: skip


class Input(NamedTuple):
    """A picture or a sound that goes along. name: with its extension.        role: "mask", or "" for all others."""

    content: bytes
    name: str
    mime: str
    role: str = ""


class Order(NamedTuple):
    """kind: "image", "speech", "transcript", "music" or "video".        prompt: what it is made of, a text.

    model: as it was named; "": one of the endpoint's list.        api: how it is asked for; "": by the model's name.
    number: how many are wanted.        parameters: those that were given, by the endpoint's names.
    form: of a transcript: "" for a text, "segments", "srt" or "vtt".
    """

    kind: str
    prompt: str
    model: str = ""
    api: str = ""
    number: int = 1
    parameters: Mapping[str, Any] = {}
    inputs: tuple[Input, ...] = ()
    form: str = ""

    def key(self, endpoint: str) -> str:
        """Return what is the same for the same order, at each run and in each process."""
        inputs = [(one.role, sha256(one.content).hexdigest()) for one in self.inputs]
        said = [
            self.kind,
            self.prompt,
            self.model,
            self.api,
            self.number,
            self.parameters,
            inputs,
            self.form,
            endpoint,
        ]
        return sha256(json.dumps(said, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    @property
    def nouns(self) -> tuple[str, str]:
        return NOUNS[self.kind]

    @property
    def size(self) -> int:
        """Bytes of what goes along."""
        return sum(len(one.content) for one in self.inputs)
