"""`comet_magic.image`, `.speech`, `.transcribe`, `.music` and `.video`: what the cells do, for Python."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from .describe.question import names_in
from .errors import ConfigError
from .media.media import Media
from .media.orders import check_names, image_order, music_order, speech_order, transcript_order, video_order
from .media.prompt import Filled, fill_prompt
from .notebook.jobs_table import jobs_table
from .notebook.media_cells import order_shown, resumed
from .render.table import Table
from .settings import CometSettings


def image(
    prompt: str, namespace: Mapping[str, Any] | None = None, *, model: str | None = None, n: int = 1,
    size: Any = None, images: Any = (), mask: Any = None, api: str | None = None, fresh: bool = False,
    dry_run: bool = False, **parameters: Any,
) -> Any:  # fmt: skip
    """Return a picture of the prompt, a `Media`; with `n`, a list of them. With `images`, those are changed.

        boat = comet_magic.image("A paper boat on a lake at dawn", size="1024x1024")
        night = comet_magic.image("The same at night", images=[boat])

    prompt: `{{expr}}` in it is looked up in `namespace`, as `globals()`, and in the keywords that it names.
    model: else the setting `media_models['image']`, else the cheapest of the endpoint's list.
    size: as the model takes it, `1024x1024`, `16:9`, `2K`.
    images: pictures, figures or paths that go along.        mask: is transparent where the first one is to change.
    api: "images", "gemini", "replicate" or "midjourney"; else by the model's name.
    fresh: make another one, also where the same was made before; one that goes on is waited for.
    dry_run: return what would be sent, and send nothing.
    parameters: any others of the endpoint's: quality, output_format, background, seed.
    The picture is put into a file beside the notebook; the same call returns it from there, at no cost.
    Raises: ConfigError where nothing may be sent; APIError where the endpoint refuses, which is not asked again;
    TransportError where no answer came, and it may have been billed.
    """
    filled, parameters = _filled("image", prompt, namespace, parameters)
    if "format" in parameters:
        parameters["output_format"] = parameters.pop("format")
    check_names("image", parameters, {*_COMMON, "n", "size", "images", "mask", "api", "quality"} - parameters.keys())
    order = image_order(
        filled, CometSettings.instance(), {"size": size, **parameters}, model=model, n=n, images=images, mask=mask,
        api=api,
    )  # fmt: skip
    return order_shown(order, is_fresh=fresh, is_dry=dry_run, note=filled.note)


def speech(
    text: str, namespace: Mapping[str, Any] | None = None, *, model: str | None = None, voice: str | None = None,
    format: str | None = None, fresh: bool = False, dry_run: bool = False, **parameters: Any,
) -> Any:  # fmt: skip
    """Return the spoken text, a `Media`. A long text takes several requests, and is joined to one sound.

    voice: else the setting `voice`.        format: mp3, opus, aac, flac, wav, or pcm, which comes as a WAV.
    parameters: any others of the endpoint's: speed, instructions.        The others, and what it raises: as `image`.
    """
    filled, parameters = _filled("speech", text, namespace, parameters)
    check_names("speech", parameters, {*_COMMON, "voice", "format", "speed", "instructions"} - parameters.keys())
    parameters = {"response_format": format, **parameters}
    order = speech_order(filled, CometSettings.instance(), parameters, model=model, voice=voice)
    return order_shown(order, is_fresh=fresh, is_dry=dry_run, note=filled.note)


def transcribe(
    audio: str | PathLike[str] | bytes | Media, *, model: str | None = None, segments: bool = False,
    format: str | None = None, translate: bool = False, prompt: str | None = None, fresh: bool = False,
    dry_run: bool = False, **parameters: Any,
) -> Any:  # fmt: skip
    """Return what is said in a file of sound or film, as a text.

    segments: a table with start and end in seconds, and text.        format: "srt" or "vtt", subtitles in a file, a
    `Media`.        translate: into English.        prompt: names and words that the sound has.
    parameters: any others of the endpoint's: language.        The others, and what it raises: as `image`.
    """
    check_names("transcribe", parameters, {*_COMMON, "segments", "format", "translate", "language"} - parameters.keys())
    order = transcript_order(
        audio, parameters, model=model, prompt=prompt, segments=segments, format=format, translate=translate
    )  # fmt: skip
    return order_shown(order, is_fresh=fresh, is_dry=dry_run)


def music(
    prompt: str, namespace: Mapping[str, Any] | None = None, *, model: str | None = None, lyrics: str | None = None,
    title: str | None = None, tags: str | None = None, instrumental: bool = False, fresh: bool = False,
    dry_run: bool = False, **parameters: Any,
) -> Any:  # fmt: skip
    """Return the songs that are made of a description, a list of `Media`; it takes minutes.

    lyrics: what is sung; the prompt is the style then.        The others, and what it raises: as `image`.
    It is ordered once. An interrupt ends the wait and not the job; the same call waits on.
    """
    filled, parameters = _filled("music", prompt, namespace, parameters)
    check_names("music", parameters, {*_COMMON, "lyrics", "title", "tags", "instrumental"} - parameters.keys())
    of_song = {"lyrics": lyrics, "title": title, "tags": tags, **parameters}
    order = music_order(filled, of_song, model=model, instrumental=instrumental)
    return order_shown(order, is_fresh=fresh, is_dry=dry_run, note=filled.note)


def video(
    prompt: str, namespace: Mapping[str, Any] | None = None, *, model: str | None = None, seconds: Any = None,
    size: Any = None, images: Any = (), api: str | None = None, fresh: bool = False, dry_run: bool = False,
    **parameters: Any,
) -> Any:  # fmt: skip
    """Return the film that is made of a prompt, a `Media`; it takes minutes.

    seconds, size: as the model takes them.        images: its first picture, or its first and its last.
    api: "videos", "kling" or "veo"; else by the model's name.        The others, and what it raises: as `image`.
    It is ordered once. An interrupt ends the wait and not the job; the same call waits on.
    """
    filled, parameters = _filled("video", prompt, namespace, parameters)
    check_names("video", parameters, {*_COMMON, "seconds", "size", "images", "api"} - parameters.keys())
    order = video_order(
        filled, CometSettings.instance(), {"seconds": seconds, "size": size, **parameters}, model=model, images=images,
        api=api,
    )  # fmt: skip
    return order_shown(order, is_fresh=fresh, is_dry=dry_run, note=filled.note)


def jobs() -> Table:
    """Return a table of the latest 500 orders for pictures, sound and film, the newest first."""
    return jobs_table(is_all=True)


def resume(id: str) -> Any:
    """Wait for a job that was ordered before, also by another kernel. Returns: what was made. Nothing is ordered.

    id: the beginning of its id, as `%comet_jobs` shows it, or the endpoint's id.
    Raises: ConfigError where there is no such job; as `image`.
    """
    return resumed(id)


_COMMON = ("prompt", "namespace", "model", "fresh", "dry_run")


def _filled(
    kind: str, prompt: str, namespace: Mapping[str, Any] | None, parameters: Mapping[str, Any]
) -> tuple[Filled, dict[str, Any]]:  # fmt: skip
    """Return the prompt filled in, and the parameters that it does not name."""
    names = names_in(prompt) if isinstance(prompt, str) and "{{" in prompt else set()
    named = {name: value for name, value in parameters.items() if name in names}
    if names and namespace is None and not named:
        raise ConfigError(
            f"the prompt names {', '.join(sorted(names))}, and there is nothing to look that up in",
            r"nothing was sent; give it by its name, or globals() as the second argument; \{{ is text",
        )
    scope = {**(namespace or {}), **named} if names else None
    others = {name: value for name, value in parameters.items() if name not in named}
    return fill_prompt(kind, prompt, scope, CometSettings.instance()), others
