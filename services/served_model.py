"""The description and the state of a process's model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sensorium.call_record import CALL_RECORD
from sensorium.errors import ModelNotReady, ModelNotServed
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.common_pb2 import ModelIdentity

_RETRY_AFTER_SECONDS = 2.0


@dataclass
class ServedModel:
    """Used on the event loop only. `info` is complete once the state is READY."""

    name: str
    info: pb.ModelInfo = field(default_factory=pb.ModelInfo)
    adapters: Sequence[str] = ()
    """Names of adapters that requests may use as the model's; `info` has their revisions once they are known."""

    def __post_init__(self) -> None:
        self.info.identity.name = self.name
        self.info.named_adapters.extend(ModelIdentity(name=name) for name in self.adapters)
        self.info.endpoint_count = 1
        self._differing: dict[str, pb.ModelInfo] = {}
        self.enter(pb.MODEL_STATE_LOADING)

    @property
    def identity(self) -> ModelIdentity:
        """Name and revision, for every result."""
        return self.info.identity

    def identity_of(self, model: str) -> ModelIdentity:
        """Returns name and revision for results of `model`, which is the model or an adapter."""
        if model not in self.adapters:
            return self.identity
        (revision,) = (adapter.revision for adapter in self.info.named_adapters if adapter.name == model)
        return ModelIdentity(name=model, revision=f"{self.identity.revision}+{revision}")

    def infos(self) -> list[pb.ModelInfo]:
        """Returns the descriptions of the model and of each adapter beside it, sorted by name."""
        found = [self.info]
        for adapter in self.info.named_adapters:
            info = pb.ModelInfo()
            info.CopyFrom(self.info)
            info.identity.CopyFrom(self.identity_of(adapter.name))
            info.base_model = self.name
            info.adapters.add().CopyFrom(adapter)
            info.ClearField("named_adapters")
            if own := self._differing.get(adapter.name):
                info.response_format, info.template_variables[:] = own.response_format, own.template_variables
            found.append(info)
        return sorted(found, key=lambda info: info.identity.name)

    def describe_adapters(self, describe: Callable[[pb.ModelInfo], None]) -> None:
        """Asks `describe` what adapters have that differs from the model's, given the description of each."""
        for info in self.infos():
            if info.base_model:
                describe(info)
                self._differing[info.identity.name] = info

    def enter(self, state: pb.ModelState.ValueType, detail: str = "") -> None:
        """Sets the state; `detail` explains it in a sentence."""
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
