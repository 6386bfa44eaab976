"""What Higgs Audio is asked with: a conversation in which texts of the user are followed by how they sound."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from services.engine.checkpoint import ModelRefused

_ASKED = (
    ("system", "Generate audio following instruction."),
    ("scene", "Audio is recorded from a quiet room."),
)
"""What the model was trained to be asked, and how a recording of it sounds: the library's own words."""
_BEFORE, _NOW = "<<before>>", "<<now>>"
"""Stand for the texts while the template writes what is around them."""


class HiggsPrompt:
    """By the checkpoint's own chat template. Its methods may run in any thread."""

    def __init__(self, tokenizer: Any, config: Any) -> None:
        """Raises ModelRefused: the template writes something else."""
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
        """Tokens of a prompt besides texts and frames."""

    def after(self, before: Sequence[int] | None, frames: int | None, now: Sequence[int]) -> list[int]:
        """Returns what asks for the sound of `now`, behind a text and the so many frames of its sound if there are."""
        if before is None or frames is None:
            return [*self._head, *now, *self._tail]
        heard = [self._audio] * (frames + 2)  # between two marks
        return [*self._head, *before, *self._sound, *heard, *self._late, *self._again, *now, *self._tail]

    def _written(self, turns: Sequence[tuple[str, dict[str, str]]]) -> str:
        chat = [{"role": role, "content": [part]} for role, part in turns]
        return self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
