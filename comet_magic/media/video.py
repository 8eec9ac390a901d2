"""Film: POST /v1/videos, Kling's and Google's own APIs; submitted once, asked for until it is there."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from ..api.transport import multipart
from ..errors import ConfigError
from .order import Order
from .replies import JOB_IDS, checked, decoded, job_id, percent, reason, state_of
from .service import Answer, AnswersLater, Body, Call, Result, form_text, inputs_of, json_call


class Videos(AnswersLater):
    """The gateway's API for films of any vendor."""

    name = "videos"

    def calls(self, order: Order, model: str) -> list[Call]:
        fields = {"model": model, "prompt": order.prompt, **order.parameters}
        parts: list[tuple[str, Any]] = [(name, form_text(value)) for name, value in fields.items()]
        parts += [("input_reference", (one.name, one.content, one.mime)) for one in inputs_of(order)]
        return [Call("/v1/videos", *multipart(parts))]

    def answer(self, bodies: list[Body]) -> Answer:
        task = _task(checked(bodies[0]))
        return _job_answer(task, job_id(task, *JOB_IDS))

    def poll_path(self, remote: str) -> str:
        return f"/v1/videos/{quote(remote, safe='')}"

    def status(self, body: Body, remote: str) -> Answer:
        return _job_answer(_task(checked(body)), remote)

    def content_path(self, remote: str) -> str:
        return f"{self.poll_path(remote)}/content"


class Kling(AnswersLater):
    """Kling's own API."""

    name = "kling"
    PATH = "/kling/v1/videos/text2video"

    def calls(self, order: Order, model: str) -> list[Call]:
        if order.inputs:
            raise ConfigError("pictures go to Kling's models by --api videos", "nothing was sent")
        given = dict(order.parameters)
        if seconds := given.pop("seconds", None):
            given["duration"] = str(seconds)  # a text, there
        if size := given.pop("size", None):
            given["aspect_ratio"] = size
        return [json_call(self.PATH, {"model_name": model, "prompt": order.prompt, **given})]

    def answer(self, bodies: list[Body]) -> Answer:
        return Answer(job_id(_task(checked(bodies[0])), "task_id", *JOB_IDS))

    def poll_path(self, remote: str) -> str:
        return f"{self.PATH}/{quote(remote, safe='')}"

    def status(self, body: Body, remote: str) -> Answer:
        return _job_answer(_task(checked(body)), remote)


class Veo(AnswersLater):
    """Google's own API for films."""

    name = "veo"

    def calls(self, order: Order, model: str) -> list[Call]:
        given = dict(order.parameters)
        if seconds := given.pop("seconds", None):
            given["durationSeconds"] = seconds
        if size := given.pop("size", None):
            given["aspectRatio"] = str(size).replace("x", ":")
        if len(order.inputs) > 1:
            raise ConfigError("this API takes one picture, the first of the film", "nothing was sent")
        instance: dict[str, Any] = {"prompt": order.prompt}
        for one in inputs_of(order):
            instance["image"] = {"bytesBase64Encoded": base64.b64encode(one.content).decode(), "mimeType": one.mime}
        body = {"instances": [instance], "parameters": given}
        return [json_call(f"/v1beta/models/{model}:predictLongRunning", body)]

    def answer(self, bodies: list[Body]) -> Answer:
        return Answer(job_id(checked(bodies[0]), "name"))

    def poll_path(self, remote: str) -> str:
        return f"/v1beta/{quote(remote)}"

    def status(self, body: Body, remote: str) -> Answer:
        said = checked(body)
        if not isinstance(said, dict) or str(said.get("done")).lower() != "true":
            return Answer(remote, word="running")
        if said.get("error"):
            return Answer(remote, is_failed=True, word="done", why=reason(said))
        response = said.get("response") or {}
        found = response.get("generateVideoResponse") or response
        samples = found.get("generatedSamples") or found.get("videos") or ()
        results = tuple(_sample(sample) for sample in samples if isinstance(sample, dict))
        if results:
            return Answer(remote, is_done=True, word="done", results=results)
        reasons = found.get("raiMediaFilteredReasons")
        why = "; ".join(map(str, reasons)) if isinstance(reasons, list) else ""
        return Answer(remote, is_failed=True, word="done", why=f"refused: {why}" if why else "")


def _sample(sample: dict[str, Any]) -> Result:
    video = sample.get("video")
    said = video if isinstance(video, dict) else sample
    if content := decoded(said.get("bytesBase64Encoded")):
        return Result(content)
    address = said.get("uri") or said.get("gcsUri") or said.get("url")
    return Result(address=address) if isinstance(address, str) and address else Result(problem="it has no address")


def _task(said: Any) -> dict[str, Any]:
    """Return the object that tells of a job, from inside the envelopes that some gateways put around it."""
    if not isinstance(said, dict):
        return {}
    inner = said.get("data")
    inner = inner[0] if isinstance(inner, list) and inner else inner
    if isinstance(inner, dict) and {"status", "task_status", "state", *JOB_IDS} & inner.keys():
        return inner  # what is around it may have a status of its own
    return said


def _job_answer(task: dict[str, Any], remote: str) -> Answer:
    word = str(task.get("task_status") or task.get("status") or task.get("state") or "")
    state = state_of(word)
    if state == "failed":
        return Answer(remote, is_failed=True, word=word, why=reason(task))
    if state == "done":
        return Answer(remote, is_done=True, word=word, results=tuple(_films(task)))
    return Answer(remote, word=word, progress=percent(task.get("progress")))


def _films(task: dict[str, Any]) -> list[Result]:
    """Return where the films of a finished job are, as far as it says so."""
    metadata = task.get("metadata")
    in_metadata = metadata.get("url") if isinstance(metadata, dict) else None
    for address in (task.get("video_url"), in_metadata, task.get("result_url")):
        if isinstance(address, str) and address:
            return [Result(address=address)]
    holders: list[Any] = [task, task.get("data")]
    for holder in holders:
        result = holder.get("task_result") if isinstance(holder, dict) else None
        videos = result.get("videos") if isinstance(result, dict) else None
        addresses = [one.get("url") for one in videos or () if isinstance(one, dict)]
        if found := [Result(address=one) for one in addresses if isinstance(one, str) and one]:
            return found
    output = task.get("output")
    listed = output if isinstance(output, list) else [output]
    return [Result(address=one) for one in listed if isinstance(one, str) and one]
