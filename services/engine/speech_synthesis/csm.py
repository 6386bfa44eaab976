"""CSM: samples codes frame by frame, and its codec Mimi decodes them as they come."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.causal_codec import CausalCodec
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.frame_list import FrameList
from services.engine.speech_synthesis.kept_result import KeptResult
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.own_loop import in_turns

_SPEAKERS = 10
"""Speakers are numbers in the text. The files do not tell how many; those of one token are offered."""
_FRAMES = 125
"""Ten seconds, if the model's files set no limit."""
_FRAMES_PER_TOKEN = 4
"""Enough for slow speech."""
_READ_END = ("min_length", "min_new_tokens", "exponential_decay_length_penalty", "bad_words_ids")
"""Settings for which the library reads the end token. A sentence ends by the codec's end code, not by this token."""


@dataclass(frozen=True)
class _Said:
    """The first sentence and its audio, the context of each later sentence. Without it every sentence would get
    another voice.
    """

    tokens: Sequence[int]
    sound: Tensor


class Csm:
    """A SpeakingModel. Its codes and random draws equal those of the library's `generate`."""

    language = ""
    embedding_width = 0
    has_rates = False
    divides = True
    joins = False

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Raises ModelRefused for a codec that is not causal, or a tokenizer or limits that cannot work."""
        if model.config.codec_config.model_type != "mimi" or not CausalCodec.streams(model.codec_model):
            raise ModelRefused("CSM is served with Mimi for its codec, whose convolutions are causal.")
        self._model = model
        self._tokenizer = tokenizer
        self.sample_rate: int = model.config.codec_config.sampling_rate
        # Half: the context before a sentence may be as long as the sentence.
        room = model.config.max_position_embeddings // 2 - 1
        own = model.generation_config
        if not own.max_new_tokens and own.max_length:
            room = min(room, own.max_length)
        self._room: int = room
        """Most tokens and frames of a sentence together."""
        self._frames = min(own.max_new_tokens or (room if own.max_length else _FRAMES), room)
        own.max_length = None  # set, it would only cause a warning of the library at each sentence
        if not any(getattr(own, name, None) for name in _READ_END):
            own.eos_token_id = None  # likewise
        self.most_tokens: int = min(self._frames // _FRAMES_PER_TOKEN, room // (_FRAMES_PER_TOKEN + 1))
        tagged = [self._ids(f"[{number}]a") for number in range(_SPEAKERS)]
        places = [i for i, (one, other) in enumerate(zip(*tagged[:2], strict=True)) if one != other]
        if len(places) != 1:
            raise ModelRefused("CSM is served with a tokenizer that has one token for each digit.")
        if self.most_tokens < len(tagged[0]):
            raise ModelRefused(f"CSM can say nothing in {self._frames} frames: its files must let it speak for more.")
        (self._place,) = places
        self._numbers = [ids[self._place] for ids in tagged]
        self.voices: Sequence[str] = tuple(map(str, range(_SPEAKERS)))

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. The tokens name the first speaker; `speak` replaces the number."""
        return self._ids(f"[0]{sentence}") if any(map(str.isalnum, sentence)) else []

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel."""
        before: _Said | None = manner.like
        tokens = self._said_by(manner.voice or 0, tokens)
        frames: list[Tensor] = []
        codec, pieces = CausalCodec.of(self._model.codec_model), list[Tensor]()
        turns = KeptResult(in_turns(lambda pause: self._generate(tokens, before, frames, pause), draws))
        for piece in codec.follow(turns, frames):
            if piece is not None:
                pieces.append(piece)
            yield piece
        said = before or (_Said(tokens, torch.cat(pieces)) if pieces else None)
        return Spoken(turns.value, said)

    def _generate(
        self, tokens: Sequence[int], before: _Said | None, frames: list[Tensor], pause: Callable[[], None]
    ) -> bool:
        """Appends frames to `frames`; returns whether the last one is not the end."""
        config, device = self._model.config, self._model.device
        longest = min(self._frames, self._room - len(tokens))
        more: dict[str, Tensor] = {}
        if before is not None:
            heard = [config.audio_token_id] * (len(before.sound) // config.codec_config.frame_size)
            tokens = [*before.tokens, *heard, config.audio_eos_token_id, *tokens]
            more = {
                "input_values": before.sound[None, None],
                "input_values_cutoffs": torch.tensor([[len(before.sound)]], device=device),
            }
        ids = torch.tensor([tokens], device=device)
        drawn = FrameList(pause, frames, silence=config.codebook_eos_token_id)
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=longest,
            num_return_sequences=1,  # overrides the generation configuration
            streamer=drawn,
            **more,
        )
        assert drawn.last is not None
        # The library does not look at the last codebook either.
        return not bool((drawn.last[:-1] == config.codebook_eos_token_id).all())

    def _said_by(self, voice: int, tokens: Sequence[int]) -> list[int]:
        return [*tokens[: self._place], self._numbers[voice], *tokens[self._place + 1 :]]

    def _ids(self, text: str) -> list[int]:
        """Tokenizes a text. Control tokens within it are split into plain text."""
        return self._tokenizer(text, split_special_tokens=True)["input_ids"]
