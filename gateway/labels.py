"""What methods are called in metrics, and tasks in texts."""

from sensorium.tasks import METHODS
from sensorium.v1 import models_pb2


def task_label(method: str) -> str:
    """Returns the `task` label of a method: the first task it serves, such as `generate_text`."""
    known = METHODS.get(method)
    return "models" if known is None else models_pb2.Task.Name(known.tasks[0]).removeprefix("TASK_").lower()


def modality_label(method: str) -> str:
    """Returns the `modality` label of a method: its service's, such as `text`."""
    known = METHODS.get(method)
    return "models" if known is None else known.service.rpartition(".")[2].removesuffix("Service").lower()


def task_name(task: int) -> str:
    """Returns what `sensorium models list` calls a task, such as `generate-text`."""
    return models_pb2.Task.Name(models_pb2.Task.ValueType(task)).removeprefix("TASK_").lower().replace("_", "-")
