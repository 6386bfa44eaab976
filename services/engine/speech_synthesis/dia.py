"""Dia: samples the codes of a dialogue, with codebooks delayed against each other; a DAC decodes them."""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from transformers import DiaProcessor

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.frame_list import FrameList
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.own_loop import in_turns
from services.engine.speech_synthesis.vocoder import WindowedDac

_TAGS = ("[S1]", "[S2]")
"""Name the speaker of the text that follows."""
_TAG = re.compile(f"({'|'.join(map(re.escape, _TAGS))})")
_STEPS = 8
"""Decoder steps per turn."""
_TOKENS_PER_SECOND = 8
"""Text tokens (bytes) per second of slow speech."""


@dataclass(frozen=True)
class _Said:
    """The first piece of a text and its codes, the context of each later piece, and the last speaker's tag."""

    tokens: Sequence[int]
    codes: Tensor
    tag: int


class Dia:
    """A SpeakingModel. Its codes and random draws equal those of the library's `generate`."""

    language = ""
    voices: Sequence[str] = ()
    embedding_width = 0
    has_rates = False
    divides = True
    joins = True

    def __init__(self, model: Any, codec: Any, tokenizer: Any) -> None:
        """Raises ModelRefused for a codec with another number of codebooks."""
        self._delays: list[int] = model.config.delay_pattern
        if codec.config.n_codebooks != len(self._delays):
            raise ModelRefused(f"The codec has {codec.config.n_codebooks} codebooks, and Dia {len(self._delays)}.")
        self._model = model
        self._tokenizer = tokenizer
        self._windows = WindowedDac.of(codec)
        self._marks = model.config.decoder_config
        self._tags: dict[str, int] = dict(zip(_TAGS, tokenizer.convert_tokens_to_ids([*_TAGS]), strict=True))
        self._own_tokens = {*tokenizer.added_tokens_decoder}
        self.sample_rate: int = codec.config.sampling_rate
        own, context = model.generation_config, self._marks.max_position_embeddings
        # Half: the context before a piece may be as long as the piece.
        self._frames = min(own.max_new_tokens or own.max_length or 0, context) // 2
        seconds = (self._frames - max(self._delays)) * codec.config.hop_length / self.sample_rate
        room = model.config.encoder_config.max_position_embeddings // 2 - 1
        self.most_tokens = min(int(seconds * _TOKENS_PER_SECOND), room)

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. Speaker tags become tokens; other control tokens in the text are plain text."""
        parts = _TAG.split(sentence)  # every other one is a tag
        if not any(map(str.isalnum, "".join(parts[::2]))):
            return []
        tags = self._tags
        return [token for part in parts for token in ([tags[part]] if part in tags else self._text(part))]

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel."""
        before: _Said | None = manner.like
        tags = [*self._tags.values()]
        if tokens[0] not in tags:
            tokens = [before.tag if before else tags[0], *tokens]
        drawn = list[Tensor]()
        turns = in_turns(lambda pause: self._generate(tokens, before, drawn, pause), draws)
        yield from self._windows.follow(self._codes(drawn) for _ in chain(turns, ["the last"]))
        tag = next(token for token in reversed(tokens) if token in tags)
        codes = self._codes(drawn)
        # Where a model goes on, the library writes the end itself, in time for the delayed codebooks.
        cut = len(codes) >= self._frames - max(self._delays) - 1
        if before is not None:
            return Spoken(cut, replace(before, tag=tag))
        return Spoken(cut, _Said(tokens, codes, tag) if len(codes) else None)

    def _codes(self, drawn: Sequence[Tensor]) -> Tensor:
        """Undoes the delays: returns the frames whose codes are all drawn, `[frames, codebooks]`."""
        count = len(drawn) - max(self._delays)
        if count <= 0:
            return torch.empty(0)
        rows = torch.stack(list(drawn))
        ends = (rows[:count, 0] == self._marks.eos_token_id).nonzero()
        count = int(ends[0]) if len(ends) else count
        codes = [rows[late : late + count, book] for book, late in enumerate(self._delays)]
        return torch.stack(codes, dim=1).to(self._model.device)

    def _generate(
        self, tokens: Sequence[int], before: _Said | None, drawn: list[Tensor], pause: Callable[[], None]
    ) -> None:
        device, marks = self._model.device, self._marks
        codes = torch.full((1, len(self._delays)), marks.bos_token_id, device=device)
        if before is not None:
            tokens = [*before.tokens, *self._text(" "), *tokens]
            codes = torch.cat((codes, before.codes))
        filled = torch.nn.functional.pad(codes, (0, 0, 0, max(self._delays)), value=marks.pad_token_id)[None]
        places = DiaProcessor.build_indices(1, filled.shape[1], len(self._delays), self._delays)
        delayed = DiaProcessor.apply_audio_delay(filled, marks.pad_token_id, marks.bos_token_id, places)
        ids = torch.tensor([tokens], device=device)
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            decoder_input_ids=delayed,
            decoder_attention_mask=torch.ones_like(filled[..., 0]),
            streamer=FrameList(pause, drawn, every=_STEPS),
            max_new_tokens=self._frames,
        )

    def _text(self, text: str) -> list[int]:
        # Tokens are byte values, and the lowest bytes coincide with the control tokens.
        ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [token for token in ids if token not in self._own_tokens]
