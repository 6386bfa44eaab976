"""Builds prompts of Higgs Audio: a chat whose user turns are texts and whose assistant turns are audio."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from services.engine.checkpoint import ModelRefused

_ASKED = (
    ("system", "Generate audio following instruction."),
    ("scene", "Audio is recorded from a quiet room."),
)
"""The system prompt and the scene description, in the library's words."""
_BEFORE, _NOW = "<<before>>", "<<now>>"
"""Placeholders for texts, to find the fixed parts of the chat template's output."""


class HiggsPrompt:
    """Prompts by the checkpoint's chat template. Its methods may run in any thread."""

    def __init__(self, tokenizer: Any, config: Any) -> None:
        """Raises ModelRefused if the template does not give a chat of texts and audio."""
        self._tokenizer = tokenizer
        self._audio: int = config.audio_token_id
        self._late = [config.audio_delay_token_id] * (config.num_codebooks - 1)
        mark = tokenizer.convert_ids_to_tokens(self._audio)
        turns = [*((role, _text(text)) for role, text in _ASKED), ("user", _text(_BEFORE))]
        try:
            whole = self._written([*turns, ("assistant", {"type": "audio"}), ("user", _text(_NOW))])
            head, _, rest = whole.partition(_BEFORE)
            sound, _, rest = rest.partition(mark)
            again, _, tail = rest.partition(_NOW)
            same = whole == "".join((head, _BEFORE, sound, mark, again, _NOW, tail))
            same = same and self._written(turns) == f"{head}{_BEFORE}{tail}"
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise ModelRefused(f"Higgs Audio needs a chat template for texts and how they sound: {error}") from error
        if not same:
            raise ModelRefused(
                "Higgs Audio needs a chat template for texts and how they sound: its files have another."
            )
        self._head, self._sound, self._again, self._tail = map(self._ids, (head, sound, again, tail))
        self.most_besides = sum(map(len, (self._head, self._sound, self._again, self._tail, self._late))) + 2
        """Upper limit of a prompt's tokens besides texts and frames."""

    def after(self, before: Sequence[int] | None, frames: int | None, now: Sequence[int]) -> list[int]:
        """Returns the prompt for the text `now`, after an earlier text and its `frames` of audio if given."""
        if before is None or frames is None:
            return [*self._head, *now, *self._tail]
        heard = [self._audio] * (frames + 2)  # with a start and an end mark
        return [*self._head, *before, *self._sound, *heard, *self._late, *self._again, *now, *self._tail]

    def _written(self, turns: Sequence[tuple[str, dict[str, str]]]) -> str:
        chat = [{"role": role, "content": [part]} for role, part in turns]
        return self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
