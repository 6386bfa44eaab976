"""Dia: draws the codes of a dialogue, each codebook some frames behind the first, and its codec makes sound of them."""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import DiaProcessor

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.frame_list import FrameList
from services.engine.speech_synthesis.model import Manner
from services.engine.speech_synthesis.own_loop import taken
from services.engine.speech_synthesis.vocoder import WindowedDac

_TAG = re.compile(r"\[S[12]\]")
"""Who says what follows."""
_STEPS = 8
"""Steps of the decoder before others have their turn."""
_TOKENS_PER_SECOND = 8
"""Bytes of a text, as slow as anybody speaks."""


@dataclass(frozen=True)
class _Said:
    """How a text begins, which goes before each later piece of it, and who spoke last."""

    tokens: Sequence[int]
    codes: Tensor
    tag: int


class Dia:
    """A SpeakingModel. Its codes are those of the library's `generate`, and so are its draws."""

    language = ""
    voices: Sequence[str] = ()
    embedding_width = 0
    has_rates = False
    divides = True
    joins = True

    def __init__(self, model: Any, codec: Any, tokenizer: Any) -> None:
        """Raises ModelRefused for a codec of other codes, or a model whose files do not say how long it may speak."""
        self._delays: list[int] = model.config.delay_pattern
        if codec.config.n_codebooks != len(self._delays):
            raise ModelRefused(f"The codec has {codec.config.n_codebooks} codebooks, and Dia {len(self._delays)}.")
        self._model = model
        self._tokenizer = tokenizer
        self._windows = WindowedDac(codec)
        self._marks = model.config.decoder_config
        self._tags: list[int] = tokenizer.convert_tokens_to_ids(["[S1]", "[S2]"])
        self.sample_rate: int = codec.config.sampling_rate
        own, context = model.generation_config, self._marks.max_position_embeddings
        # Of its files, but told each time: the library warns of a length that it finds there.
        self._limit = {"max_new_tokens": own.max_new_tokens} if own.max_new_tokens else {"max_length": own.max_length}
        longest = own.max_new_tokens or own.max_length or 0
        frames = min(longest, context) // 2  # of a piece of a text, and of what goes before it
        seconds = (frames - max(self._delays)) * codec.config.hop_length / self.sample_rate
        most = min(int(seconds * _TOKENS_PER_SECOND), model.config.encoder_config.max_position_embeddings // 2 - 1)
        if most < 1:
            raise ModelRefused("Dia needs its generation_config.json, which says how long it may speak.")
        self.most_tokens = most

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel."""
        if not any(map(str.isalnum, _TAG.sub("", sentence))):
            return []
        return self._tokenizer(sentence, add_special_tokens=False)["input_ids"]

    def speak(
        self, tokens: Sequence[int], manner: Manner, draws: Draws
    ) -> Generator[Tensor | None, None, _Said | None]:
        """See SpeakingModel."""
        before: _Said | None = manner.like
        if tokens[0] not in self._tags:
            tokens = [before.tag if before else self._tags[0], *tokens]
        windows, drawn = self._windows, list[Tensor]()
        ends = windows.ends()
        begin, end = 0, next(ends)
        for _ in taken(lambda pause: self._generate(tokens, before, drawn, pause), draws):
            codes = self._codes(drawn)
            while windows.seamless and len(codes) >= end + windows.reach:
                yield windows.sound(codes, begin, end)
                begin, end = end, next(ends)
            yield None
        codes = self._codes(drawn)
        while begin < len(codes):
            last = min(end, len(codes)) if windows.seamless else len(codes)
            yield windows.sound(codes, begin, last)
            begin, end = last, next(ends)
        tag = next(token for token in reversed(tokens) if token in self._tags)
        if before is not None:
            return replace(before, tag=tag)
        return _Said(tokens, codes, tag) if len(codes) else None

    def _codes(self, drawn: Sequence[Tensor]) -> Tensor:
        """Returns the frames of which all codes were drawn, `[frames, codebooks]`."""
        count = max(len(drawn) - max(self._delays), 0)
        count = next((i for i in range(count) if drawn[i][0] == self._marks.eos_token_id), count)
        if not count:
            return torch.empty(0)
        rows = torch.stack(list(drawn)).to(self._model.device)
        return torch.stack([rows[late : late + count, book] for book, late in enumerate(self._delays)], dim=1)

    def _generate(
        self, tokens: Sequence[int], before: _Said | None, drawn: list[Tensor], pause: Callable[[], None]
    ) -> None:
        device, marks = self._model.device, self._marks
        codes = torch.full((1, len(self._delays)), marks.bos_token_id, device=device)
        if before is not None:
            tokens = [*before.tokens, *self._tokenizer(" ", add_special_tokens=False)["input_ids"], *tokens]
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
            **self._limit,
        )
