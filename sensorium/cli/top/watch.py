"""Asks a gateway again and again, and draws what it tells."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sensorium.cli.top.frame import Seen, frame
from sensorium.cli.top.scrape import Change, Scrape, ScrapeFailed, fetch
from sensorium.client import Client
from sensorium.errors import SensoriumError
from sensorium.v1.models_pb2 import ListModelsRequest, ModelInfo

_ANSWER_SECONDS = 2.0


@dataclass
class Watch:
    """One gateway: its gRPC side as `client`, its metrics port as `url`. A gateway that is away is asked on."""

    client: Client
    target: str
    url: str
    _last: Change | None = None
    _models: Sequence[ModelInfo] = field(default=())
    _heard: str = ""

    def look(self) -> Seen:
        """Asks once.

        Raises:
            ScrapeFailed: the metrics port does not answer, and never did.
        """
        clock = time.strftime("%H:%M:%S")
        trouble = self._list_models()
        try:
            now = fetch(self.url, _ANSWER_SECONDS)
        except ScrapeFailed as error:
            if self._last is None:
                raise
            return Seen(self.target, self._last, self._models, clock, f"{error} This is of {self._heard}.")
        self._last, self._heard = Change(self._earlier(now), now), clock
        return Seen(self.target, self._last, self._models, clock, trouble)

    def _earlier(self, now: Scrape) -> Scrape:
        return self._last.after if self._last is not None else now

    def _list_models(self) -> str:
        """Returns what is wrong, if anything; what was listed last stays."""
        try:
            self._models = self.client.models.list_models(ListModelsRequest(), timeout=_ANSWER_SECONDS).models
        except SensoriumError as error:
            return f"{self.target} does not list its models: {error.message}"
        return ""


def once(watch: Watch, console: Console, interval: float) -> None:
    """Prints one frame, of what happens in `interval` seconds.

    Raises:
        ScrapeFailed: the metrics port does not answer.
    """
    watch.look()
    time.sleep(interval)
    console.print(frame(watch.look(), console.width))


def forever(watch: Watch, console: Console, interval: float, more: Callable[[], bool] = lambda: True) -> None:
    """Draws a frame each `interval` seconds, over the last one on a terminal, for as long as `more` says so."""
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while more():
            try:
                shown = frame(watch.look(), console.width, console.height if console.is_terminal else None)
            except ScrapeFailed as error:
                shown = Text(f"{error} Asking again every {interval:g} s.")
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            time.sleep(interval)
