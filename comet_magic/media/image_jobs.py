"""Pictures from vendors whose answer is a job: Replicate's models, as `owner/name`, and Midjourney."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from ..errors import ConfigError
from .order import Order
from .replies import checked, job_id, percent, reason, state_of
from .service import Answer, AnswersLater, Body, Call, Result, inputs_of, json_call


class Replicate(AnswersLater):
    """Replicate's predictions."""

    name = "replicate"
    polls_after_s = 3.0

    def calls(self, order: Order, model: str) -> list[Call]:
        if order.inputs:
            raise ConfigError("pictures do not go to Replicate's models from here", "nothing was sent")
        count = {"num_outputs": order.number} if order.number > 1 else {}
        path = f"/replicate/v1/models/{quote(model, safe='/')}/predictions"
        return [json_call(path, {"input": {"prompt": order.prompt, **count, **order.parameters}})]

    def answer(self, bodies: list[Body]) -> Answer:
        said = checked(bodies[0])
        return _prediction(said, job_id(said, "id"))

    def poll_path(self, remote: str) -> str:
        return f"/replicate/v1/predictions/{quote(remote, safe='')}"

    def status(self, body: Body, remote: str) -> Answer:
        said = checked(body)
        return _prediction(said if isinstance(said, dict) else {}, remote)


def _prediction(said: dict[str, Any], remote: str) -> Answer:
    word = str(said.get("status") or "")
    state = state_of(word)
    if state == "failed":
        return Answer(remote, is_failed=True, word=word, why=reason(said))
    if state != "done":
        return Answer(remote, word=word)
    output = said.get("output")
    addresses = output if isinstance(output, list) else [output]
    results = tuple(Result(address=one) for one in addresses if isinstance(one, str) and one)
    return Answer(remote, is_done=True, word=word, results=results)


class Midjourney(AnswersLater):
    """Midjourney, as gateways offer it."""

    name = "midjourney"
    polls_after_s = 3.0

    def calls(self, order: Order, model: str) -> list[Call]:
        if inputs_of(order, "mask"):
            raise ConfigError("Midjourney takes no mask", "nothing was sent")
        if order.number > 1:
            raise ConfigError(
                "comet_magic orders one picture of Midjourney at a time", "nothing was sent; leave -n out"
            )
        pictures = [f"data:{one.mime};base64,{base64.b64encode(one.content).decode()}" for one in inputs_of(order)]
        body = {"prompt": order.prompt, **({"base64Array": pictures} if pictures else {}), **order.parameters}
        return [json_call("/mj/submit/imagine", body)]

    def answer(self, bodies: list[Body]) -> Answer:
        return Answer(job_id(checked(bodies[0]), "result"))

    def poll_path(self, remote: str) -> str:
        return f"/mj/task/{quote(remote, safe='')}/fetch"

    def status(self, body: Body, remote: str) -> Answer:
        said = checked(body)
        task = said if isinstance(said, dict) else {}
        word = str(task.get("status") or "")
        if word.upper() == "MODAL":
            why = "it waits for a choice that can only be made on its own page"
            return Answer(remote, is_failed=True, word=word, why=why)
        state, address = state_of(word), task.get("imageUrl") or task.get("image_url")
        if state == "failed":
            return Answer(remote, is_failed=True, word=word, why=reason({**task, "reason": task.get("failReason")}))
        if state == "done":
            results = (Result(address=address),) if isinstance(address, str) and address else ()
            return Answer(remote, is_done=True, word=word, results=results)
        return Answer(remote, word=word, progress=percent(task.get("progress")))
