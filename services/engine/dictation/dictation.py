"""A loaded multimodal decoder with its manner: builds prompts that ask for a transcript."""

import re

import numpy as np

from sensorium.errors import InvalidArgument
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.dictation.manner import Wish
from services.engine.dictation.manners import manner_of
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel
from services.engine.media.recording import Samples
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.processor import MediaProcessor, MediumRefused, digest_of
from services.engine.multimodal.prompts import MultimodalPrompt, PromptComposer

_MARK = re.compile(r"<.+>|\[.+]", re.DOTALL)
"""Added tokens of this form are control tokens even if not declared special, such as `<asr_text>`."""
_SHORTEST_WINDOW = 1.0
"""Least length of a window in seconds; a context that holds less is refused."""


class Dictation:
    """A Dictated for multimodal decoders. Its methods may run in any thread."""

    def __init__(self, loaded: LoadedModel, media: MediaProcessor, encoder: PromptEncoder) -> None:
        """Raises ModelRefused if the files lack what prompts need, or prompts differ from the processor's."""
        self._architecture = loaded.architecture
        self._media = media
        self._composer = PromptComposer(media, encoder, loaded.model)
        self.manner = manner_of(loaded, self._composer)
        self.rate = media.sampling_rate
        """Sample rate in Hz of the model's input."""
        added = loaded.tokenizer.added_tokens_decoder.values()
        control = [each.content for each in added if each.content and (each.special or _MARK.fullmatch(each.content))]
        self.reserved = [*media.reserved, *loaded.tokenizer.all_special_tokens, *control]
        """Texts that a caller's text must not contain, because they are control tokens in a prompt."""
        self._require_own_prompt()

    def prompt(self, samples: Samples, wish: Wish) -> MultimodalPrompt:
        """Returns the prompt that asks for the transcript of samples `[n]` at `rate`.

        Raises:
            MediumRefused: the model cannot read them, for example because they are too few.
        """
        medium = self._media.read(MediaKind.AUDIO, samples, digest_of(MediaKind.AUDIO, samples))
        return self._composer.expand(self.manner.request(wish), [(MediaKind.AUDIO, medium)])

    def fitting(self, seconds: float, tokens: int) -> float:
        """Returns the longest window, at most `seconds`, whose audio takes at most `tokens` tokens of the prompt.

        Raises:
            ModelRefused: not even one second fits.
        """
        fitting = min(seconds, self._media.heard_seconds)
        while self.token_count(fitting) > tokens:
            fitting /= 2
            if fitting < _SHORTEST_WINDOW:
                raise ModelRefused(
                    f"A second of sound in a prompt of {self._architecture} comes to more than {tokens} tokens, half "
                    "of what a sequence may have here. --cache-mib gives more room, up to the model's own context."
                )
        return fitting

    def token_count(self, seconds: float) -> int:
        """Returns how many prompt tokens audio of this length takes."""
        silence = np.zeros(round(seconds * self.rate), np.float32)
        return self._media.read(MediaKind.AUDIO, silence, b"").token_count

    def _require_own_prompt(self) -> None:
        """Raises ModelRefused unless a prompt equals the one that the processor makes of the same request."""
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, self.rate).astype(np.float32)
        try:
            request = self.manner.request(Wish())
            own = self._media.own_inputs(request, [(MediaKind.AUDIO, noise)])["input_ids"][0].tolist()
            same = self.prompt(noise, Wish()).token_ids == own
        except (*MODEL_ERRORS, InvalidArgument, MediumRefused) as error:
            raise ModelRefused(f"{self._architecture} cannot be asked for a transcript: {error}") from error
        if not same:
            raise ModelRefused(f"The prompt for {self._architecture} differs from the one that its processor makes.")
