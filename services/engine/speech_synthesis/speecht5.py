"""SpeechT5: makes a spectrogram frame by frame, which a vocoder turns into audio."""

import inspect
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.kept_result import KeptResult
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.vocoder import WindowedVocoder

_STEPS = 8
"""Decoder steps per turn."""
_STOP_PROBABILITY = 0.5
_LENGTH_RATIO = 20.0
"""Most frames per token. Both values are defaults of the library's `generate_speech`, which this class follows."""


class SpeechT5:
    """A SpeakingModel. Its frames and random draws equal those of `generate_speech`."""

    language = ""
    has_rates = False
    divides = True
    joins = False

    def __init__(self, model: Any, vocoder: Any, tokenizer: Any, voices: dict[str, Sequence[float]]) -> None:
        """`voices` are speaker embeddings by name; the first is the default."""
        self._model = model
        self._tokenizer = tokenizer
        self._embeddings = list(voices.values())
        self.voices: Sequence[str] = tuple(voices)
        self.embedding_width: int = model.config.speaker_embedding_dim
        self.most_tokens: int = model.config.max_text_positions
        self.sample_rate: int = vocoder.config.sampling_rate
        decoder = model.speecht5.decoder.wrapped_decoder
        self._cache_name = "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"
        postnet = model.speech_decoder_postnet
        self._vocoder = WindowedVocoder(
            vocoder,
            lambda frames: vocoder(postnet.postnet(frames[None])[0]),
            more_reach=sum(layer.conv.kernel_size[0] // 2 for layer in postnet.layers),
        )

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. Control tokens within the sentence are split into plain text."""
        tokenizer = self._tokenizer
        ids: list[int] = tokenizer(sentence, split_special_tokens=True)["input_ids"]
        said = tokenizer.convert_ids_to_tokens([each for each in ids if each not in tokenizer.all_special_ids])
        return ids if any(piece.strip("▁ ") for piece in said) else []

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel."""
        model = self._model
        voice = self._embeddings[manner.voice or 0] if manner.embedding is None else manner.embedding
        embedding = torch.tensor([voice], device=model.device, dtype=model.dtype)
        frames = KeptResult(self._frames(torch.tensor([tokens], device=model.device), embedding, draws))
        yield from self._vocoder.follow(frames)
        return Spoken(cut=frames.value)

    def _frames(self, ids: Tensor, voice: Tensor, draws: Draws) -> Generator[Tensor, None, bool]:
        """Yields all frames so far, `[frames, bins]` before the postnet, once per turn; returns whether it was cut."""
        model, config = self._model, self._model.config
        decoder, head = model.speecht5.decoder, model.speech_decoder_postnet
        mask = torch.ones_like(ids)
        read = model.speecht5.encoder(input_values=ids, attention_mask=mask, return_dict=True).last_hidden_state
        cache = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
        most = min(int(read.shape[1] * _LENGTH_RATIO / config.reduction_factor), config.max_speech_positions)
        inputs, made, ended, over = read.new_zeros(1, 1, config.num_mel_bins), [], False, False
        while not over:
            with draws.in_force():
                for _ in range(_STEPS):
                    # The prenet must read all inputs at each step, because its dropout draws numbers for all of them.
                    hidden = decoder.prenet(inputs, voice)[:, -1:]
                    last = decoder.wrapped_decoder(
                        hidden_states=hidden,
                        encoder_hidden_states=read,
                        encoder_attention_mask=mask,
                        use_cache=True,
                        return_dict=True,
                        **{self._cache_name: cache},
                    ).last_hidden_state.squeeze(1)
                    frames = head.feat_out(last).view(config.reduction_factor, config.num_mel_bins)
                    made.append(frames)
                    inputs = torch.cat((inputs, frames[None, -1:]), dim=1)
                    ended = bool(torch.sigmoid(head.prob_out(last)).sum() >= _STOP_PROBABILITY)
                    over = ended or len(made) >= most
                    if over:
                        break
            yield torch.cat(made)
        return not ended
