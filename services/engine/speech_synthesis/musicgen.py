"""MusicGen: draws sound and music that a text describes, token by token, and makes sound of all of them at its end."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteriaList

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.model import Manner
from services.engine.speech_synthesis.own_loop import Pauses, taken

_MOST_TOKENS = 256
"""Of a description: what its reader of texts was trained with."""
_BRIEF = 16
"""Tokens of a trial."""


class MusicGen:
    """A SpeakingModel. Its sound is what the library's `generate` makes with the model's own configuration.

    MusicGen Melody is one too, which is given a text and no melody.
    """

    language = ""
    voices: Sequence[str] = ()
    embedding_width = 0
    has_rates = False
    divides = False
    joins = False
    most_tokens = _MOST_TOKENS

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Raises ModelRefused for a model of two channels."""
        if model.config.decoder.audio_channels != 1:
            raise ModelRefused("MusicGen with two channels is not served; the models with one are.")
        self._model = model
        self._tokenizer = tokenizer
        self.sample_rate: int = model.config.audio_encoder.sampling_rate

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. What looks like one of the tokenizer's own tokens is text too."""
        tokenizer = self._tokenizer
        own = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
        ids: list[int] = []
        for token in tokenizer.tokenize(sentence, split_special_tokens=True):
            # T5's vocabulary spells some of them in text too: they are taken letter by letter.
            found = tokenizer.convert_tokens_to_ids([token])
            ids += tokenizer.convert_tokens_to_ids([*token]) if found[0] in own else found
        return [*ids, *tokenizer("")["input_ids"]] if {*ids} - {tokenizer.unk_token_id} else []

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None]:
        """See SpeakingModel. There is one piece: it makes sound of all its tokens at once."""
        ids = torch.tensor([tokens], device=self._model.device)
        own = self._model.generation_config
        length = {"max_new_tokens" if own.max_new_tokens else "max_length": _BRIEF} if manner.brief else {}

        def generate(pause: Callable[[], None]) -> Tensor:
            criteria = StoppingCriteriaList([Pauses(pause)])
            return self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                stopping_criteria=criteria,
                num_return_sequences=1,  # whatever its files say, as what follows
                return_dict_in_generate=False,
                **length,
            )

        made = yield from taken(generate, draws)
        yield made[0, 0]
