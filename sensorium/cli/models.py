"""The models served, as a table."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensorium.cli.descriptors import short_name
from sensorium.cli.terminal import printable
from sensorium.v1.models_pb2 import (
    MODEL_STATE_DRAINING,
    MODEL_STATE_FAILED,
    MODEL_STATE_LOADING,
    MODEL_STATE_READY,
    MODEL_STATE_WARMING,
    ListModelsResponse,
    ModelInfo,
)

_STYLES = {
    MODEL_STATE_LOADING: "yellow",
    MODEL_STATE_WARMING: "yellow",
    MODEL_STATE_READY: "green",
    MODEL_STATE_DRAINING: "yellow",
    MODEL_STATE_FAILED: "red",
}
_COLUMNS = ("name", "revision", "state", "tasks", "dtype", "device", "context", "endpoints")


def print_models(listed: ListModelsResponse, console: Console) -> None:
    """Prints one row for each model."""
    if not listed.models:
        console.print("No models are served. A gateway's log tells which endpoints it cannot reach, and why.")
        return
    table = Table(box=box.SIMPLE if console.is_terminal else None)
    for column in _COLUMNS:
        right = column in {"context", "endpoints"}
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=column != "state")
    for info in listed.models:
        table.add_row(*_row(info, one_per_line=console.is_terminal))
    console.print(table)


def _row(info: ModelInfo, one_per_line: bool) -> list[Text]:
    fields = ModelInfo.DESCRIPTOR.fields_by_name
    state = short_name(fields["state"], info.state)
    tasks = [short_name(fields["tasks"], task) for task in info.tasks]
    context = info.limits.context_token_count
    return [
        Text(printable(info.identity.name), style="bold"),
        # Behind a `+` those of adapters.
        Text(printable("+".join(part[:12] for part in info.identity.revision.split("+")))),
        Text(
            printable(f"{state}: {info.state_detail}" if info.state_detail else state),
            style=_STYLES.get(info.state, ""),
        ),
        Text((",\n" if one_per_line else ", ").join(tasks)),
        Text(printable(f"{info.dtype} {info.quantization}".strip())),
        Text(printable(info.device)),
        Text(f"{context:,}" if context else "–"),
        Text(str(info.endpoint_count)),
    ]
