"""The service of a model without generation, or with an engine of its own kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sensorium.v1 import models_pb2 as pb
from services.engine.batching.queue import BatchLimits
from services.engine.narrow.model import narrow_count
from services.engine.threads.engine_threads import EngineThreads


class LoadedModel(Protocol):
    """A model with the properties that ModelService tells."""

    @property
    def model(self) -> Any:
        """The model, one of transformers' own."""
        ...

    @property
    def device(self) -> Any:
        """Its device."""
        ...

    @property
    def revision(self) -> str:
        """The revision of its weights."""
        ...

    @property
    def quantization(self) -> str:
        """Method and kind of its quantization; empty where there is none."""
        ...

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        ...

    @property
    def labels(self) -> list[str]:
        """Its own labels by index."""
        ...


@dataclass(frozen=True)
class PlainService:
    """A LoadedService."""

    loaded: LoadedModel
    threads: EngineThreads[Any]
    verbs: Any
    tasks: Sequence[pb.Task.ValueType]
    limits: pb.ModelLimits
    """Limits that only its service knows."""
    concurrency: int = BatchLimits.items
    """How many items the model works on at once."""
    sample_rate: int = 0
    """Samples per second of the audio it reads or writes; 0 where it does neither."""

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        loaded = self.loaded
        info.identity.revision = loaded.revision
        info.tasks[:] = sorted(self.tasks)
        info.limits.MergeFrom(self.limits)
        info.architecture = loaded.architecture
        info.dtype = str(loaded.model.dtype).removeprefix("torch.")
        info.quantization = loaded.quantization
        info.device = str(loaded.device)
        info.parameter_count, info.rounded_parameter_count = loaded.model.num_parameters(), narrow_count(loaded.model)
        info.concurrency = self.concurrency
        info.labels[:] = loaded.labels
        info.sample_rate_hertz = self.sample_rate
