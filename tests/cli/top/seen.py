"""A gateway as it was recorded under load, two seconds apart, in front of two models."""

import io
from pathlib import Path

from rich.console import Console

from sensorium.cli.top.frame import Seen, frame
from sensorium.cli.top.scrape import Change, parse
from sensorium.v1.models_pb2 import MODEL_STATE_READY, ModelInfo

FOLDER = Path(__file__).parent / "recorded"
EARLIER, LATER = ((FOLDER / f"{name}.txt").read_text() for name in ("earlier", "later"))
MODELS = [ModelInfo(state=MODEL_STATE_READY) for _ in range(2)]
for model, name in zip(MODELS, ("digits", "chat"), strict=True):
    model.identity.name = name


def change(earlier: str = EARLIER, later: str = LATER) -> Change:
    return Change(parse(earlier, 10.0), parse(later, 12.0))


def drawn(changed: Change, width: int = 140, height: int | None = None, trouble: str = "") -> list[str]:
    """Returns the lines of a frame, without the spaces at their ends."""
    seen = Seen("gateway:50050", changed, MODELS, "12:00:00", trouble)
    console = Console(file=io.StringIO(), width=width)
    console.print(frame(seen, width, height))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]
