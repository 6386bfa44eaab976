"""The base class of the servicers of all modalities."""

from typing import Generic, TypeVar

from services.handlers import task_not_supported
from services.served_model import ServedModel

Verb = TypeVar("Verb")
Verbs = TypeVar("Verbs")


class VerbServicer(Generic[Verbs]):
    """Answers by `verbs`, which are set once the model is loaded."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self.verbs: Verbs | None = None

    def _ready(self, model: str) -> Verbs:
        """Returns the verbs, for a request for `model`. Raises what ServedModel.require raises."""
        self._served.require(model)
        assert self.verbs is not None
        return self.verbs

    def _able(self, rpc: str, verb: Verb | None) -> Verb:
        """Returns the verb of an RPC.

        Raises:
            TaskNotSupported: the model has none.
        """
        if verb is None:
            raise task_not_supported(rpc, self._served.name)
        return verb

    def _require_labels(self, rpc: str, *, wanted: bool, sent: bool) -> None:
        """Checks that a request has labels if the model needs them, and none if the model has its own.

        Raises:
            TaskNotSupported: these are two tasks, and the model cannot do the other one.
        """
        if wanted != sent:
            form = "by labels in the request" if sent else "without labels in the request"
            raise task_not_supported(f"{rpc} {form}", self._served.name)
