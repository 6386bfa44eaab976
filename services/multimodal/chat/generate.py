"""The verb Generate for conversations with images and recordings."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sensorium.errors import DeadlineExceeded, InvalidArgument, Violation
from services.engine.generation.requests.resolution import ModelDefaults, TokenizedInput
from services.engine.generation.running.media import Medium
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.processor import MediumRefused
from services.engine.multimodal.prompts import FIELD, PromptComposer
from services.engine.multimodal.reader import MediaReader
from services.engine.threads.turns import give_way, hold_much
from services.generation.ask import GenerationAsk, ShownMedium
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts


@dataclass(frozen=True)
class MediaPrompts:
    """The parts that turn a conversation with media into a prompt."""

    reader: MediaReader
    composer: PromptComposer
    most: int
    """The most media in one prompt."""
    alone: Collection[MediaKind] = ()
    """The kinds of which it may have one at most."""


class MultimodalGenerator(TextGenerator):
    """A TextGenerator whose requests may have media: parts of `chat` stand for the items of `media`, in order."""

    def __init__(self, parts: GeneratorParts, prompts: MediaPrompts) -> None:
        super().__init__(parts)
        self._prompts = prompts

    def _tokens(self, ask: GenerationAsk, defaults: ModelDefaults) -> tuple[str | None, TokenizedInput | None]:
        """See TextGenerator."""
        wrong: list[Violation] = []
        media = self._media(ask.media, wrong, ask.deadline)
        if ask.chat is not None:
            wrong += self._prompts.composer.violations(ask.chat)
        if wrong:
            raise InvalidArgument(wrong)
        if ask.chat is None:
            return super()._tokens(ask, defaults)
        prompt = self._prompts.composer.compose(ask.chat, media)
        return prompt.rendered, TokenizedInput(prompt.token_ids, ask.delivered, FIELD, media=prompt.media)

    def _media(
        self, shown: Sequence[ShownMedium], wrong: list[Violation], deadline: float | None
    ) -> list[tuple[MediaKind, Medium]]:
        """Returns the prepared media that are valid, and appends violations for the others to `wrong`.

        Raises:
            DeadlineExceeded: the deadline passed before the last one was read.
        """
        if many := self._too_many(shown):
            wrong.append(Violation(f"{FIELD}.messages", many))
            return []  # decoding too many media would be wasted work
        images = sum(each.kind is MediaKind.IMAGE for each in shown)
        found: list[tuple[MediaKind, Medium]] = []
        for i, each in enumerate(shown):
            if i:  # most requests have one medium, which should not wait here
                hold_much()
            give_way()
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlineExceeded("The deadline passed while media were read.")
            if each.sent.wrong:
                wrong.append(Violation(each.field, each.sent.wrong))
                continue
            try:
                sent = each.sent
                medium = self._prompts.reader.read(each.kind, sent.data, sent.media_type, deadline, images=images)
                found.append((each.kind, medium))
            except MediumRefused as refused:
                wrong.append(Violation(each.field, str(refused)))
        return found

    def _too_many(self, shown: Sequence[ShownMedium]) -> str:
        """Returns in what way a prompt has too many media; empty if it has not."""
        if len(shown) > self._prompts.most:
            return f"show {len(shown)} images and recordings; at most {self._prompts.most} are read"
        for kind in self._prompts.alone:
            if (count := sum(each.kind is kind for each in shown)) > 1:
                return f"show {count} media of kind {kind.value}, of which this model reads one in a prompt"
        return ""
