"""A model's own cache of one sequence, made and advanced exactly as `generate` does it.

`generate` hands a custom decoding loop all that it has prepared: the encoder's output, the cache of the model's kind,
masks, positions. This takes them over and runs the body of the loop one step at a time, so that sequences can take
turns.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig, PreTrainedModel

from services.engine.generation.cache.module_memory import ModuleMemory
from services.engine.multimodal.processor import of_tokens

_UNBOUNDED = 1 << 30
"""A `max_length` that no sequence reaches; `generate` wants one."""


class OwnCache:
    """The cache of one sequence. Used in the thread that runs the model only."""

    def __init__(self, model: PreTrainedModel, memory: ModuleMemory, given: Mapping[str, Any] | None = None) -> None:
        """Makes the cache of a sequence without tokens.

        Args:
            model: The model.
            memory: The state in its modules, which is restored before each step and read after it.
            given: Inputs of `generate` beside tokens, in the place of the encoder's.
        """
        self._model: Any = model
        self._given = given
        self._memory = memory
        self._remembered = memory.fresh
        self._arguments: dict[str, Any] | None = None
        self._output: Any = None
        self.length = 0
        """How many tokens it holds."""

    def advance(self, token_ids: Sequence[int], source_ids: Sequence[int] = (), scored: int = 0) -> Tensor:
        """Computes the tokens of `token_ids` that it does not hold yet, at least one, in one forward.

        An encoder reads `source_ids` before the first. Returns float32 logits `[scored + 1, vocabulary]`: after each of
        the first `scored` of these tokens, and after the last. After a failure the cache must not be used any more.
        """
        tokens = torch.tensor([token_ids], device=self._model.device)
        self._memory.recall(self._remembered)
        if self._arguments is None:
            self._arguments = _prepared(self._model, tokens, source_ids, self._given)
            inputs = self._model.prepare_inputs_for_generation(tokens, is_first_iteration=True, **self._arguments)
        else:
            inputs = self._next_inputs(tokens, len(token_ids) - self.length)
        if scored and "logits_to_keep" in inputs:
            inputs["logits_to_keep"] = 0  # all
        output = self._model(**inputs, return_dict=True)
        self._remembered = self._memory.take()
        # Copies, for else the logits of all tokens would live as long as the sequence.
        logits = torch.cat([output.logits[0, :scored], output.logits[0, -1:]]).float()
        output["logits"] = None
        self._output = output
        self.length = len(token_ids)
        return logits

    def tensors(self) -> list[Tensor]:
        """Returns its tensors on the device, each once."""
        found: dict[int, Tensor] = {}
        _collect([self._arguments, self._remembered], found, set())
        return list(found.values())

    def fork(self) -> "OwnCache":
        """Returns an independent copy."""
        shared = {id(self._model): self._model, id(self._memory): self._memory}
        # Nobody changes what was read.
        shared |= {id(value): value for value in (self._given or {}).values()}
        if self._arguments and (encoded := self._arguments.get("encoder_outputs")) is not None:
            shared[id(encoded)] = encoded
        return deepcopy(self, shared)

    def _next_inputs(self, tokens: Tensor, count: int) -> dict[str, Any]:
        model = self._model
        self._arguments = model._update_model_kwargs_for_generation(
            self._output, self._arguments, is_encoder_decoder=model.config.is_encoder_decoder, num_new_tokens=count
        )
        assert self._arguments is not None
        # A model without a cache reads everything again.
        length = count if self._arguments["use_cache"] else None
        return model.prepare_inputs_for_generation(tokens, next_sequence_length=length, **self._arguments)


def _prepared(model: Any, tokens: Tensor, source_ids: Sequence[int], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the arguments that `generate` would run the model with, its encoder having read `source_ids`.

    Where there is something `given`, nothing else is read.
    """
    prepared: dict[str, Any] = {}

    def take(_model: Any, input_ids: Tensor, **model_kwargs: Any) -> Tensor:
        for name in ("logits_processor", "stopping_criteria", "generation_config"):
            model_kwargs.pop(name)
        prepared.update(model_kwargs)
        return input_ids

    # By the name that the model's own limit has: the library warns, each time, where there are both.
    limit = "max_length" if model.generation_config.max_new_tokens is None else "max_new_tokens"
    alone = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1}
    plain = GenerationConfig(**alone, use_cache=True, **{limit: _UNBOUNDED})
    options = {"generation_config": plain, "custom_generate": take}
    if model.config.is_encoder_decoder and given is not None:
        model.generate(decoder_input_ids=tokens, **given, **options)
    elif model.config.is_encoder_decoder:
        source = torch.tensor([source_ids], device=model.device)
        model.generate(source, attention_mask=torch.ones_like(source), decoder_input_ids=tokens, **options)
    else:
        given = {name: _stretched(name, value, tokens) for name, value in (given or {}).items()}
        model.generate(tokens, attention_mask=torch.ones_like(tokens), **given, **options)
    return prepared


def _stretched(name: str, value: Any, tokens: Tensor) -> Any:
    """Returns what is told of each of a prompt's tokens for all `tokens`, those behind the prompt being text."""
    return pad(value, (0, tokens.shape[1] - value.shape[1])) if of_tokens(name) else value


def _collect(value: Any, found: dict[int, Tensor], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        found.setdefault(value.untyped_storage().data_ptr(), value)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, found, seen)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, found, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        _collect(vars(value), found, seen)
