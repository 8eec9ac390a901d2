"""Songs: POST /suno/submit/music, and GET /suno/fetch/ID until its clips are there; two for each submit."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .order import Order
from .replies import JOB_IDS, checked, job_id, no_result, percent, reason, state_of
from .service import Answer, AnswersLater, Body, Call, Result, json_call


class Suno(AnswersLater):
    """Suno's API. A prompt describes the song; with lyrics it is their style."""

    name = "suno"

    def calls(self, order: Order, model: str) -> list[Call]:
        given = dict(order.parameters)
        # Without `mv`, gateways name a version that is retired.
        body: dict[str, Any] = {"mv": model}
        if lyrics := given.pop("lyrics", None):
            styles = filter(None, [given.pop("tags", None), order.prompt])
            body |= {"prompt": lyrics, "tags": ", ".join(styles)}
        else:
            body |= {"gpt_description_prompt": order.prompt}
        return [json_call("/suno/submit/music", {**body, **given})]

    def answer(self, bodies: list[Body]) -> Answer:
        said = checked(bodies[0])
        data = said.get("data") if isinstance(said, dict) else None
        return Answer(job_id(data, *JOB_IDS) if isinstance(data, dict) else job_id(said, "data"))

    def poll_path(self, remote: str) -> str:
        return f"/suno/fetch/{quote(remote, safe='')}"

    def status(self, body: Body, remote: str) -> Answer:
        said = checked(body)
        task = said.get("data") if isinstance(said, dict) else None
        task = task[0] if isinstance(task, list) and task else task
        if not isinstance(task, dict):
            raise no_result("job", said)
        word = str(task.get("status") or "")
        listed = task.get("data")
        clips = [clip for clip in listed if isinstance(clip, dict)] if isinstance(listed, list) else []
        state = state_of(word)
        are_whole = bool(clips) and all(state_of(clip.get("status")) == "done" for clip in clips)
        if state == "failed":
            return Answer(remote, is_failed=True, word=word, why=reason(task))
        if state == "done" or are_whole:  # an address that comes earlier is that of a stream
            return Answer(remote, is_done=True, word=word, results=tuple(map(_clip, clips)))
        return Answer(remote, word=word, progress=percent(task.get("progress")))


def _clip(clip: dict[str, Any]) -> Result:
    title = str(clip.get("title") or "")
    address = clip.get("audio_url")
    if isinstance(address, str) and address:
        return Result(address=address, caption=title)
    return Result(caption=title, problem=reason(clip) or "the endpoint gives no address of its sound")
