"""Bark: text to semantic tokens, to coarse codes, to fine codes, which the codec decodes."""

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteriaList
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.speech_synthesis.bark_voices import read_voices
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.own_loop import Pauses, in_turns

log = logging.getLogger(__name__)

History = dict[str, Tensor]
"""Tokens of earlier speech, under the library's names. A voice is such a history."""
_ANY = "any"
"""The voice name for no voice: a random one for each request, kept to the end of its text."""
_STEPS_PER_TOKEN = 16
"""A third of a second per text token, enough for slow speech."""
_SHORTEST = 8
"""Semantic tokens that suffice to keep a sentence's voice."""
_BRIEF = 4
"""Semantic tokens of a trial run."""


class Bark:
    """A SpeakingModel. Its codes and random draws equal those of the library's `generate`."""

    language = ""
    embedding_width = 0
    has_rates = False
    divides = True
    joins = False

    def __init__(self, model: Any, tokenizer: Any, checkpoint: Checkpoint) -> None:
        """Raises ModelRefused if the generation configuration lacks its parts, or voices belong to another model."""
        own = model.generation_config
        if not hasattr(own, "semantic_config"):
            raise ModelRefused("Bark needs its generation_config.json, with a part for each of its models.")
        self._model = model
        self._tokenizer = tokenizer
        self._semantic = BarkSemanticGenerationConfig(**own.semantic_config)
        self._coarse = BarkCoarseGenerationConfig(**own.coarse_acoustics_config)
        self._fine = BarkFineGenerationConfig(**own.fine_acoustics_config)
        coarse, fine = self._coarse.n_coarse_codebooks, self._fine.n_fine_codebooks
        voices = read_voices(
            checkpoint,
            {
                "semantic_prompt": self._semantic.semantic_vocab_size,
                "coarse_prompt": own.codebook_size,
                "fine_prompt": own.codebook_size,
            },
            {"coarse_prompt": coarse, "fine_prompt": fine},
        )
        if voices.pop(_ANY, None) is not None:
            log.warning("%s lists a voice %r, which is here the name of none; it is left out", checkpoint.source, _ANY)
        self._histories: list[History | None] = [None, *voices.values()]
        self.voices: Sequence[str] = (_ANY, *voices)
        self.sample_rate: int = model.config.codec_config.sampling_rate
        self._length: int = self._semantic.max_input_semantic_length
        self.most_tokens = min(self._length, self._semantic.max_new_tokens // _STEPS_PER_TOKEN)

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel."""
        if not any(map(str.isalnum, sentence)):
            return []
        return self._tokenizer(sentence, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel. Yields one piece: fine codes need all coarse codes."""
        history = self._histories[manner.voice or 0] or manner.like
        length = {"min_new_tokens": _BRIEF, "max_new_tokens": _BRIEF} if manner.brief else {}
        said, cut = yield from in_turns(lambda pause: self._say(tokens, history, length, pause), draws)
        if said is None:
            return Spoken(cut, manner.like)
        yield self._model.codec_decode(said["fine_prompt"][None])[0]
        return Spoken(cut, manner.like or (said if len(said["semantic_prompt"]) >= _SHORTEST else None))

    def _say(
        self, tokens: Sequence[int], history: History | None, length: dict[str, int], pause: Callable[[], None]
    ) -> tuple[History | None, bool]:
        """Returns the codes of a sentence, None for an empty one, and whether it was cut.

        Follows the library's `generate`.
        """
        model, device = self._model, self._model.device
        criteria = StoppingCriteriaList([Pauses(pause)])
        configs: dict[str, Any] = {"history_prompt": history, "semantic_generation_config": self._semantic}
        mask = torch.arange(self._length, device=device)[None] < len(tokens)
        means = model.semantic.generate(
            torch.tensor([[*tokens, *[0] * (self._length - len(tokens))]], device=device),
            attention_mask=mask.long(),
            min_eos_p=None,  # overrides the files, as `generate` does
            stopping_criteria=criteria,
            **configs,
            **length,
        )
        meant = means[0][means[0] < self._semantic.semantic_vocab_size]
        cut = len(meant) == means.shape[1]  # the end is a token that means nothing
        if not len(meant):
            return None, cut
        configs |= {"coarse_generation_config": self._coarse, "codebook_size": model.generation_config.codebook_size}
        coarse = model.coarse_acoustics.generate(means, stopping_criteria=criteria, **configs)
        with _paused_before(model.fine_acoustics, pause):
            fine = model.fine_acoustics.generate(coarse, fine_generation_config=self._fine, **configs)
        books = self._coarse.n_coarse_codebooks
        return {"semantic_prompt": meant, "coarse_prompt": fine[0, :books], "fine_prompt": fine[0]}, cut


@contextmanager
def _paused_before(module: Any, pause: Callable[[], None]) -> Generator[None]:
    """Calls `pause` before each call of `module` in this thread, so that other requests get turns."""
    mine = threading.get_ident()
    hook = module.register_forward_pre_hook(lambda *_: pause() if threading.get_ident() == mine else None)
    try:
        yield
    finally:
        hook.remove()
