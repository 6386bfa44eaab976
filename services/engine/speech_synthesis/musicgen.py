"""MusicGen: music and sound from a text description; decodes audio once all codes are sampled."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteriaList

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.own_loop import Pauses, in_turns

_MOST_TOKENS = 256
"""Longest description, as its text encoder was trained."""
_BRIEF = 16
"""Tokens of a trial run."""


class MusicGen:
    """A SpeakingModel. Its audio equals that of the library's `generate` with the model's own configuration.

    Also runs MusicGen Melody, without a melody.
    """

    language = ""
    voices: Sequence[str] = ()
    embedding_width = 0
    has_rates = False
    divides = False
    joins = False
    most_tokens = _MOST_TOKENS

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Raises ModelRefused for a stereo model."""
        if model.config.decoder.audio_channels != 1:
            raise ModelRefused("MusicGen with two channels is not served; the models with one are.")
        self._model = model
        self._tokenizer = tokenizer
        self.sample_rate: int = model.config.audio_encoder.sampling_rate

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. Control tokens within the text are split into plain text."""
        tokenizer = self._tokenizer
        own = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
        ids: list[int] = []
        for token in tokenizer.tokenize(sentence, split_special_tokens=True):
            # T5's tokenizer makes some control tokens of plain text too: those are spelled out letter by letter.
            found = tokenizer.convert_tokens_to_ids([token])
            ids += tokenizer.convert_tokens_to_ids([*token]) if found[0] in own else found
        return [*ids, *tokenizer("")["input_ids"]] if {*ids} - {tokenizer.unk_token_id} else []

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel. Yields one piece, decoded from all tokens at once."""
        ids = torch.tensor([tokens], device=self._model.device)
        own = self._model.generation_config
        length = {"max_new_tokens" if own.max_new_tokens else "max_length": _BRIEF} if manner.brief else {}

        def generate(pause: Callable[[], None]) -> Tensor:
            criteria = StoppingCriteriaList([Pauses(pause)])
            return self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                stopping_criteria=criteria,
                num_return_sequences=1,  # overrides the generation configuration, like the next argument
                return_dict_in_generate=False,
                **length,
            )

        made = yield from in_turns(generate, draws)
        yield made[0, 0]
        return Spoken(cut=True)  # it has no end of its own: the library cannot read codes of unequal length
