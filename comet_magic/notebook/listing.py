"""The endpoint's list of models, asked for beside the kernel's work."""

from __future__ import annotations

import threading

from ..api import client
from ..errors import CometError
from ..settings import CometSettings


class Listing:
    """One question for the list, asked at once. Lives until it is answered.

    models: their names, when it is.        why_none: why there are none, or "".
    """

    def __init__(self, settings: CometSettings) -> None:
        self.models: list[str] = []
        self.why_none = ""
        self._settings = settings
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it is answered, within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _ask(self) -> None:
        why = "the endpoint's list of models is empty"
        try:
            self.models = sorted(model["id"] for model in client.connect(self._settings).models())
        except CometError as error:
            why = f"no list of models ({error.what})"
        except Exception as error:  # noqa: BLE001  # nobody else would hear of it
            why = f"no list of models ({type(error).__name__})"
        self.why_none = "" if self.models else f"{why}; any name can be typed"
