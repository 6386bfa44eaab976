"""Pocket TTS: samples continuous latents frame by frame, in a voice that is given as latents too.

Gradium Phonon is a variant whose voices are latents of another codec than its audio.
"""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.speech_synthesis.causal_codec import CausalCodec
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.frame_list import FrameList
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.own_loop import handed_over, in_turns

_MOST_TOKENS = 50
"""Longest piece of text, as in the library's processor."""
_BRIEF = 2
"""Frames of a trial run."""


@dataclass(frozen=True)
class PocketSettings:
    """Settings of the checkpoint's processor, with the processor's defaults."""

    short_text_max_words: int = 4
    frames_after_eos_short_text: int = 4
    frames_after_eos: int = 2
    fade_in_duration: float = 0.005


class PocketTts:
    """A SpeakingModel. Its latents and random draws equal those of the library's `generate`."""

    language = ""
    embedding_width = 0
    has_rates = False
    divides = True
    joins = True
    most_tokens = _MOST_TOKENS

    def __init__(
        self, model: Any, codec: Any, tokenizer: Any, voices: Mapping[str, Tensor], settings: PocketSettings
    ) -> None:
        """Raises ModelRefused for a codec of other latents or with lookahead, or an unknown chat template."""
        config = model.config
        same = getattr(codec.config, "latent_dim", 0) == config.latent_dim and codec.decoder is not None
        if not same or not CausalCodec.streams(codec):
            raise ModelRefused(
                f"Pocket TTS is served with a codec that makes sound of {config.latent_dim} numbers a frame, and whose "
                "convolutions are causal."
            )
        self._model = model
        self._codec = codec
        self._tokenizer = tokenizer
        self._settings = settings
        self._voices = [voice.to(model.device) for voice in voices.values()]
        self.voices: Sequence[str] = tuple(voices)
        self.sample_rate: int = codec.config.sampling_rate
        self._voice_id: int = config.audio_prompt_token_id
        own = [config.audio_bos_token_id, config.audio_latent_token_id, self._voice_id]
        marks: list[str] = [*tokenizer.convert_ids_to_tokens(own), *tokenizer.all_special_tokens]
        self._marks = re.compile("|".join(re.escape(mark) for mark in marks if mark))
        try:
            ids = self._prompt("a")
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise ModelRefused(f"Pocket TTS needs a chat template for a voice and a text: {error}") from error
        if ids.count(self._voice_id) != 1 or ids[-1] != config.audio_bos_token_id:
            raise ModelRefused("Pocket TTS needs a chat template for a voice and a text: its files have another.")
        self._head = ids[: ids.index(self._voice_id)]
        model.generation_config.max_length = None  # set, it would cause a warning of the library at each sentence

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel. Control tokens within the sentence are broken up and spoken as text."""
        if not any(map(str.isalnum, sentence)):
            return []
        ids = self._prompt(self._marks.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", sentence))
        return ids[ids.index(self._voice_id) + 1 : -1]

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel."""
        voice, codec, frames = self._voices[manner.voice or 0], self._codec, list[Tensor]()
        bos: int = self._model.config.audio_bos_token_id
        ids = [*self._head, *[self._voice_id] * len(voice), *tokens, bos]
        most = _BRIEF if manner.brief else self._most_frames(ids)
        turns = in_turns(lambda pause: self._generate(ids, voice, most, frames, pause), draws)
        dtype = codec.latent_proj.weight.dtype
        causal = CausalCodec(codec.decoder, lambda part: codec.latent_proj(part.to(dtype).T[None]))
        fade: Tensor | None = torch.linspace(0, 1, int(self._settings.fade_in_duration * self.sample_rate))
        for piece in causal.follow(turns, frames):
            if piece is not None and fade is not None:
                count = min(len(fade), len(piece))
                piece[:count] *= fade[:count].to(piece)
                fade = None
            yield piece
        return Spoken(cut=len(frames) >= most)

    def _most_frames(self, ids: Sequence[int]) -> int:
        """Returns how many frames the library's `generate` draws for a prompt at most."""
        marks = {*self._model._placeholder_token_ids()}
        return ceil((sum(each not in marks for each in ids) / 3 + 2) * self._model.config.frame_rate)

    def _generate(
        self,
        tokens: Sequence[int],
        voice: Tensor,
        most: int,
        drawn: list[Tensor],
        pause: Callable[[], None],
    ) -> None:
        model, settings = self._model, self._settings
        ids = torch.tensor([tokens], device=model.device)
        words = len(self._tokenizer.decode(ids[0], skip_special_tokens=True).split())
        short = words <= settings.short_text_max_words
        after = settings.frames_after_eos_short_text if short else settings.frames_after_eos
        frames = FrameList(pause, drawn)

        def put(latent: Tensor) -> None:
            frames.put(model.denormalize_latents(latent) if len(latent) else latent)

        with handed_over(model, "audio_latents", put):
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                audio_prompt_latents=voice[None],
                audio_prompt_latents_mask=ids.new_ones(1, len(voice)),
                frames_after_eos=torch.tensor([after]),
                num_return_sequences=1,  # overrides the generation configuration, like the next argument
                return_dict_in_generate=False,
                max_new_tokens=most,
            )
        frames.put(made[0][-1])

    def _prompt(self, text: str) -> list[int]:
        """Returns the prompt for a text, with one token in place of the voice, tokenized as the processor does."""
        chat = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": text}]}]
        written = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        begun = self._tokenizer.bos_token and written.startswith(self._tokenizer.bos_token)
        return self._tokenizer(written, add_special_tokens=not begun)["input_ids"]
