"""Finds the task of a checkpoint by the class that its configuration names."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.unserved import refuse_unserved

TaskT = TypeVar("TaskT", bound=Enum)


def classes(*tables: Mapping[Any, Any]) -> frozenset[str]:
    """Returns the names of the classes in transformers' tables; some kinds of model have several."""
    values = (value for table in tables for value in table.values())
    return frozenset(name for value in values for name in ([value] if isinstance(value, str) else value))


def made_for(checkpoint: Checkpoint, by_class: Mapping[TaskT, frozenset[str]], kind: str) -> TaskT:
    """Returns the first task whose classes include the checkpoint's; messages call such tasks `kind`.

    Raises:
        ModelRefused: its configuration cannot be read, or names a class of no task known here.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
    (name, *_) = getattr(config, "architectures", None) or [""]
    refuse_unserved(checkpoint.source, name)
    for task, names in by_class.items():
        if name in names:
            return task
    raise ModelRefused(
        f"{checkpoint.source} was made as {name or 'nothing its configuration names'}, which is no {kind} known here. "
        "--task chooses one, or another service serves it: text, vision, speech or multimodal."
    )
