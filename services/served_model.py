"""The model of one process as the rest of the process sees it: what it is, and whether it can be asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.call_record import CALL_RECORD
from sensorium.errors import ModelNotReady, ModelNotServed
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.common_pb2 import ModelIdentity

_RETRY_AFTER_SECONDS = 2.0


@dataclass
class ServedModel:
    """Belongs to the event loop. `info` is complete once the state is READY."""

    name: str
    info: pb.ModelInfo = field(default_factory=pb.ModelInfo)
    adapters: Sequence[str] = ()
    """What may be asked for in its place; `info` tells their revisions once they are known."""

    def __post_init__(self) -> None:
        self.info.identity.name = self.name
        self.info.named_adapters.extend(ModelIdentity(name=name) for name in self.adapters)
        self.info.endpoint_count = 1
        self.enter(pb.MODEL_STATE_LOADING)

    @property
    def identity(self) -> ModelIdentity:
        """Name and revision, for every result."""
        return self.info.identity

    def identity_of(self, model: str) -> ModelIdentity:
        """Returns name and revision of what a request for `model` gets: the model's own, or those of an adapter."""
        if model not in self.adapters:
            return self.identity
        (revision,) = (adapter.revision for adapter in self.info.named_adapters if adapter.name == model)
        return ModelIdentity(name=model, revision=f"{self.identity.revision}+{revision}")

    def infos(self) -> list[pb.ModelInfo]:
        """Returns what is told of the model and of each adapter beside it, which can do the same, by name."""
        found = [self.info]
        for adapter in self.info.named_adapters:
            info = pb.ModelInfo()
            info.CopyFrom(self.info)
            info.identity.CopyFrom(self.identity_of(adapter.name))
            info.base_model = self.name
            info.adapters.add().CopyFrom(adapter)
            info.ClearField("named_adapters")
            found.append(info)
        return sorted(found, key=lambda info: info.identity.name)

    def enter(self, state: pb.ModelState.ValueType, detail: str = "") -> None:
        """Changes the state; `detail` is one sentence on it."""
        self.info.state = state
        self.info.state_detail = detail

    def require(self, model: str) -> None:
        """Returns if a request for `model` can be served now.

        Raises:
            ModelNotServed: another model is meant.
            ModelNotReady: the model is loading, warming up, draining or has failed.
        """
        if model not in ("", self.name, *self.adapters):
            raise ModelNotServed.of(model, [self.name, *self.adapters])
        if (record := CALL_RECORD.get()) is not None:
            record.model = model or self.name
        if self.info.state != pb.MODEL_STATE_READY:
            state = pb.ModelState.Name(self.info.state).removeprefix("MODEL_STATE_").lower()
            raise ModelNotReady(
                f"{self.name} is {state}. {self.info.state_detail}".strip(),
                metadata={"model": self.name, "state": state},
                retry_after=_RETRY_AFTER_SECONDS,
            )
