"""Names of methods in metric labels, and of tasks in error messages."""

from sensorium.tasks import METHODS
from sensorium.v1 import models_pb2


def task_label(method: str) -> str:
    """Returns the `task` label of a method: its first task, such as `generate_text`; `models` for ModelService."""
    known = METHODS.get(method)
    return "models" if known is None else models_pb2.Task.Name(known.tasks[0]).removeprefix("TASK_").lower()


def modality_label(method: str) -> str:
    """Returns the `modality` label of a method: its service's name, such as `text`; `models` for ModelService."""
    known = METHODS.get(method)
    return "models" if known is None else known.service.rpartition(".")[2].removesuffix("Service").lower()


def task_name(task: int) -> str:
    """Returns a task's name as `sensorium models list` prints it, such as `generate-text`."""
    return models_pb2.Task.Name(models_pb2.Task.ValueType(task)).removeprefix("TASK_").lower().replace("_", "-")
