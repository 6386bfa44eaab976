"""Compares sequences that take turns with the model's own `generate`, once, at load."""

from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.generation.building.generated import Reference, generated, relative_error
from services.engine.generation.building.verification import CHUNK, tolerance
from services.engine.generation.cache.module_memory import ModuleMemory
from services.engine.generation.running.rotary import frequencies_depend_on_length
from services.engine.generation.running.serial_runner import Continuation, Given, SerialRunner, nothing_given
from services.engine.loading import LoadedModel

_LENGTHS = (24, 10)


def remember(loaded: LoadedModel) -> ModuleMemory:
    """Returns what the modules of a model remember, having run it once.

    Raises:
        ModelRefused: its own `generate` fails.
    """
    return ModuleMemory(loaded.model, lambda: generated(loaded, 2))


def serial_references(loaded: LoadedModel, memory: ModuleMemory) -> list[Reference]:
    """Returns what `generate` makes of prompts of different lengths, each on a model that remembers nothing."""
    references: list[Reference] = []
    for length in _LENGTHS:
        memory.recall(memory.fresh)
        references.append(generated(loaded, min(length, loaded.context_tokens // 2)))
    return references


def verify_serial(
    loaded: LoadedModel, memory: ModuleMemory, references: list[Reference], given: Given = nothing_given
) -> Continuation:
    """Returns the widest continuation with which the model computes what its own `generate` has computed.

    `given` is as SerialRunner takes it.

    Raises:
        ModelRefused: there is none.
    """
    only_steps = frequencies_depend_on_length(loaded.model.config)
    errors: list[float] = []
    for continuation in [Continuation.STEPS] if only_steps else Continuation:
        runner = SerialRunner(loaded.generator, continuation, memory, given)
        chunk = CHUNK if continuation is Continuation.CHUNKS else None
        try:
            errors.append(relative_error(runner, references, chunk=chunk))
        except MODEL_ERRORS:
            errors.append(float("inf"))
        if errors[-1] <= tolerance(loaded):
            return continuation
    raise ModelRefused(
        f"{loaded.architecture} computes other logits when sequences take turns than in its own generate (relative "
        f"error {min(errors):.2g}), so it cannot be served exactly."
    )
