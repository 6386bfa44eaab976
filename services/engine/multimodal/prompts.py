"""Turns conversations with media into tokens with the places of the media."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.running.media import Medium, PromptMedia
from services.engine.language.chat_template import REASONING
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.placing import MediaPlacer
from services.engine.multimodal.processor import DURATION, MediaProcessor

FIELD = "prompt"
"""The name of the conversation in violations."""


@dataclass(frozen=True)
class MultimodalPrompt:
    """A tokenized prompt."""

    rendered: str
    """The text that the template writes."""
    token_ids: list[int]
    media: PromptMedia | None


class PromptComposer:
    """Composes prompts by the model's own chat template and processor. Its methods may run in any thread."""

    def __init__(self, processor: MediaProcessor, encoder: PromptEncoder, model: PreTrainedModel) -> None:
        self._processor = processor
        self._encoder = encoder
        self._placer = MediaPlacer(processor, model)
        # Pieces of the template's text that stand for media, told apart by the names of their kinds.
        kinds = [f"(?P<{kind.name}>{re.escape(processor.placeholder(kind))})" for kind in processor.kinds]
        self._placeholder = re.compile("|".join(kinds))
        self._reads_parts = _reads_parts(encoder)

    def compose(self, chat: Chat, media: Sequence[tuple[MediaKind, Medium]]) -> MultimodalPrompt:
        """Returns the prompt of a conversation whose parts name the kinds of `media`, in their order.

        Raises:
            InvalidArgument: the template refuses it, or leaves out a medium or repeats one.
        """
        return self.expand(self.written(chat), media)

    def written(self, chat: Chat) -> str:
        """Returns a conversation as the model's template writes it. Raises InvalidArgument if that refuses it."""
        rendered = None if self._encoder.has_template else self._plain(chat)
        if rendered is None:
            written = chat if self._reads_parts else self._written_out(chat)
            rendered = self._encoder.render(written, field=FIELD, quoted=not self._reads_parts)
        return rendered

    def expand(self, rendered: str, media: Sequence[tuple[MediaKind, Medium]]) -> MultimodalPrompt:
        """Returns the prompt of a text with placeholders for `media`, which are in order for each kind.

        Raises:
            InvalidArgument: there are more or fewer placeholders than media, or none where the model needs one.
        """
        token_ids, ordered = self.tokens(rendered, media)
        return MultimodalPrompt(self._encoder.shown(rendered), token_ids, self._placer.place(token_ids, ordered, FIELD))

    def inputs(self, token_ids: list[int], ordered: Sequence[tuple[MediaKind, Medium]]) -> dict[str, Tensor]:
        """Returns the model's inputs for a prompt with media `ordered`, none of which is encoded yet."""
        return self._placer.inputs(token_ids, self._placer.located(token_ids, ordered, FIELD))

    def tokens(
        self, rendered: str, media: Sequence[tuple[MediaKind, Medium]]
    ) -> tuple[list[int], list[tuple[MediaKind, Medium]]]:
        """Returns the tokens of such a text, and the media in their order there. Raises as `expand`."""
        if self._processor.manner.needs_image and not media:
            raise InvalidArgument([Violation(FIELD, "shows no image, and this model reads no text without one")])
        waiting = {kind: [medium for its, medium in media if its is kind] for kind in self._processor.kinds}
        ordered: list[tuple[MediaKind, Medium]] = []

        def replacement(found: re.Match[str]) -> str:
            kind = MediaKind[found.lastgroup or ""]
            if not waiting[kind]:
                raise _other_count(kind)
            medium = waiting[kind].pop(0)
            number = sum(its is kind for its, _ in ordered)
            ordered.append((kind, medium))
            return self._processor.numbered(medium.replacement, number)

        images = sum(kind is MediaKind.IMAGE for kind, _ in media)
        text = self._placeholder.sub(replacement, self._processor.laid_out(rendered, images))
        for kind, left in waiting.items():
            if left:
                raise _other_count(kind)
        text = self._timed(self._processor.joined(text), [medium for _, medium in ordered])
        ids = self._encoder.encode(text, field=FIELD, add_special_tokens=False)
        return [*self._processor.beginning(rendered), *ids, *self._processor.manner.ends], ordered

    def _timed(self, text: str, media: Sequence[Medium]) -> str:
        """Returns a text with the lengths of recordings where the processor writes them."""
        if duration := getattr(self._processor.own, DURATION, ""):
            for medium in media:
                text = text.replace(duration, f"{medium.seconds:.2f}", 1)
        return text

    def _plain(self, chat: Chat) -> str | None:
        """Returns the parts of a user's only turn, concatenated: models without a template were trained on such texts.

        None for other conversations, which need a template.
        """
        if len(chat.messages) != 1 or chat.messages[0]["role"] != "user":
            return None
        if chat.tools or chat.continue_last or chat.variables:
            return None
        return "".join(map(self._text_of, self._encoder.quoted(chat.messages[0]["content"])))

    def _written_out(self, chat: Chat) -> Chat:
        """Returns a conversation with one text for each turn, for templates of text alone; it is quoted."""
        quoted = self._encoder.quoted(chat.messages)
        turns = [{**turn, "content": "".join(map(self._text_of, turn["content"]))} for turn in quoted]
        return replace(chat, messages=turns, tools=self._encoder.quoted(chat.tools))

    def _text_of(self, part: dict[str, str]) -> str:
        return part["text"] if part["type"] == "text" else self._processor.placeholder(MediaKind(part["type"]))

    def violations(self, chat: Chat) -> Iterator[Violation]:
        """Yields the places where a caller's text holds a placeholder of media, which must not be composed."""
        for i, message in enumerate(chat.messages):
            for j, part in enumerate(message["content"]):
                yield from self._holding(f"{FIELD}.messages[{i}].parts[{j}].text", part.get("text", ""))
            yield from self._holding(f"{FIELD}.messages[{i}].reasoning", message.get(REASONING, ""))
            for j, call in enumerate(message.get("tool_calls", [])):
                yield from self._holding(f"{FIELD}.messages[{i}].tool_calls[{j}]", _texts(call))
        for i, tool in enumerate(chat.tools):
            yield from self._holding(f"{FIELD}.tools[{i}]", _texts(tool))
        for name, value in chat.variables.items():
            yield from self._holding(f"{FIELD}.template_variables_json[{name}]", _texts(value))

    def _holding(self, field: str, text: str) -> Iterator[Violation]:
        for reserved in self._processor.reserved:
            if reserved in text:
                yield Violation(
                    field, f"holds {reserved!r}, which stands for media in this model's prompts: leave it out"
                )


def _reads_parts(encoder: PromptEncoder) -> bool:
    """Returns whether the template reads turns in parts, rather than writing a part list as Python prints it."""
    try:
        written = encoder.render(Chat([{"role": "user", "content": [{"type": "text", "text": "x"}]}], [], False))
    except InvalidArgument:
        return True  # whatever is wrong is told at requests
    return "'text'" not in written


def _other_count(kind: MediaKind) -> InvalidArgument:
    wrong = f"is written by the model's chat template with more or less parts of kind {kind.value} than it has"
    return InvalidArgument([Violation(FIELD, wrong)])


def _texts(value: Any) -> str:
    """Returns all texts in nested values."""
    if isinstance(value, dict):
        return "\n".join(_texts(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return "\n".join(map(_texts, value))
    return value if isinstance(value, str) else ""
