"""Higgs Audio v2: samples codes as a turn of a chat, each codebook one frame later than the one before."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Any

import torch
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.frame_list import FrameList
from services.engine.speech_synthesis.higgs_codec import windows_of
from services.engine.speech_synthesis.higgs_prompt import HiggsPrompt
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.own_loop import handed_over, in_turns

_SECONDS_PER_TOKEN = 0.32
"""Enough for slow speech."""


@dataclass(frozen=True)
class _Said:
    """The first sentence and its codes, the context of each later sentence. Without it every sentence would get
    another voice.
    """

    tokens: Sequence[int]
    codes: Tensor
    """`[frames, codebooks]`."""


class Higgs:
    """A SpeakingModel. Its codes and random draws equal those of the library's `generate`."""

    language = ""
    voices: Sequence[str] = ()
    embedding_width = 0
    has_rates = False
    divides = True
    joins = False

    def __init__(self, model: Any, codec: Any, tokenizer: Any) -> None:
        """Raises ModelRefused for a codec of other codes, or a tokenizer without a chat template for audio."""
        config = model.config
        self._books: int = config.num_codebooks
        own, its = (self._books, config.audio_stream_bos_id), (codec.config.num_quantizers, codec.config.codebook_size)
        if its != own:
            raise ModelRefused("The codec has {} codebooks of {} codes, and Higgs Audio {} of {}.".format(*its, *own))
        self._model = model
        self._tokenizer = tokenizer
        self._prompt = HiggsPrompt(tokenizer, config)
        self._windows = windows_of(codec)
        self.sample_rate: int = codec.config.sample_rate
        per_token = ceil(_SECONDS_PER_TOKEN * self.sample_rate / codec.config.hop_length)
        # Half: the context before a sentence may be as long as the sentence.
        room = (config.max_position_embeddings - self._prompt.most_besides) // 2
        generation = model.generation_config
        self._steps = min(generation.max_new_tokens or room, room * per_token // (per_token + 1))
        self.most_tokens: int = (self._steps - self._books) // per_token
        self._length: int | None = None if generation.max_new_tokens else generation.max_length
        """Most tokens and frames of a sentence's prompt and answer together."""
        generation.max_length = None  # set, it would cause a warning of the library at each sentence
        if self._length is not None:
            left = self._length - len(self._prompt.after(None, None, []))
            self.most_tokens = min(self.most_tokens, (left - self._books) // (per_token + 1))

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. Control tokens within the sentence are split into plain text."""
        if not any(map(str.isalnum, sentence)):
            return []
        return self._tokenizer(sentence, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel."""
        before: _Said | None = manner.like
        drawn = list[Tensor]()
        steps = self._steps
        if self._length is not None:
            steps = min(steps, self._length - len(self._prompt.after(None, None, tokens)))
        if manner.brief:
            steps = self._books + 1  # enough for one frame after the start mark
        turns = in_turns(lambda pause: self._generate(tokens, before, steps, drawn, pause), draws)
        yield from self._windows.follow(self._codes(drawn) for _ in chain(turns, ["the last"]))
        codes = self._codes(drawn)
        cut = not bool((drawn[-1] == self._model.config.audio_stream_eos_id).all())
        return Spoken(cut, before or (_Said(tokens, codes) if len(codes) else None))

    def _codes(self, drawn: Sequence[Tensor]) -> Tensor:
        """Undoes the delays: returns the frames whose codes are all drawn, `[frames, codebooks]`.

        The first of `drawn` is a start mark.
        """
        if len(drawn) <= self._books:
            return torch.empty(0)
        rows = torch.stack(list(drawn[1:]))
        ends = (rows == self._model.config.audio_stream_eos_id).all(dim=1).nonzero()
        count = (int(ends[0]) if len(ends) else len(rows)) - self._books + 1
        codes = [rows[late : late + max(count, 0), late] for late in range(self._books)]
        return torch.stack(codes, dim=1).clamp(max=self._model.config.audio_stream_bos_id - 1)

    def _generate(
        self,
        tokens: Sequence[int],
        before: _Said | None,
        steps: int,
        drawn: list[Tensor],
        pause: Callable[[], None],
    ) -> None:
        model, device, more = self._model, self._model.device, dict[str, Tensor]()
        said: tuple[Sequence[int] | None, int | None] = None, None
        if before is not None:
            said = before.tokens, len(before.codes)
            heard = self._delayed(before.codes)[None]
            more = {"audio_input_ids": heard, "audio_input_ids_mask": torch.ones_like(heard[..., 0], dtype=torch.bool)}
        ids = torch.tensor([self._prompt.after(*said, tokens)])
        frames = FrameList(pause, drawn)
        with handed_over(model, "audio_input_ids", frames.put):
            made = model.generate(
                input_ids=ids.to(device),
                attention_mask=torch.ones_like(ids).to(device),
                max_new_tokens=steps,
                num_return_sequences=1,  # overrides the generation configuration, like the next argument
                return_dict_in_generate=False,
                **more,
            )
        frames.put(made[0, -1])

    def _delayed(self, codes: Tensor) -> Tensor:
        """Delays codes `[frames, codebooks]` and adds start and end marks, as the model's processor does."""
        config = self._model.config
        columns = [
            torch.cat(
                (
                    codes.new_full((book + 1,), config.audio_stream_bos_id),
                    codes[:, book],
                    codes.new_full((self._books - book,), config.audio_stream_eos_id),
                )
            )
            for book in range(self._books)
        ]
        return torch.stack(columns, dim=1)
