"""A template for responses, checked and prepared for reading."""

from collections.abc import Iterable
from typing import Any

from transformers.utils.chat_parsing.response_templates import load_response_template

from services.engine.language.responses.delimiters import Delimiter, Watch
from services.engine.language.responses.fields import Field

_NEAR = 16 << 10
_SECONDS = 0.25


class Layout:
    """The fields of a message and the delimiters between them, from a `response_template` of transformers.

    Raises:
        ValueError: the template is malformed, or needs what the installed transformers does not have.
    """

    def __init__(self, template: dict[str, Any], *, whole: bool = False) -> None:
        try:
            spec: Any = load_response_template(template)
            self.fields = {name: Field(each, whole=whole) for name, each in spec.fields.items()}
        except ValueError:
            raise
        except Exception as error:
            # The library checks less than a file can have wrong.
            raise ValueError(f"the response template cannot be read: {error!r}") from error
        self.implicit: str | None = spec.implicit
        self._anchor = spec.start_anchor_re
        self._anchors: list[str] | None = spec.start_anchor_literals
        opening = [self._delimiter(each, opens=True) for each in spec.fields.values() if each.open_re]
        closing = {each.name: self._delimiter(each, opens=False) for each in spec.fields.values() if each.close_re}
        self._watches = {name: Watch([closing[name]] if name in closing else []) for name in spec.fields}
        between = [*opening, closing[spec.implicit]] if spec.implicit in closing else opening
        self._watches[spec.implicit] = self._between = Watch(between)

    def watch(self, field: str | None) -> Watch:
        """Returns the delimiters to look for in a field; None: between the fields, where no text belongs."""
        return self._watches.get(field, self._between)

    def begun(self, prompt: str) -> str:
        """Returns what a prompt has of the message that the model goes on with: nothing if it has no start of one."""
        if self._anchors is not None:
            start = max(prompt.rfind(each) + len(each) if each in prompt else -1 for each in self._anchors)
            return prompt[start:] if start >= 0 else ""
        for text in (prompt[-_NEAR:], prompt):
            ends = [found.end() for found in self._found(text)]
            if ends:
                return text[ends[-1] :]
        return ""

    def _found(self, text: str) -> Iterable[Any]:
        try:
            return list(self._anchor.finditer(text, timeout=_SECONDS))
        except TimeoutError:
            return []

    @staticmethod
    def _delimiter(spec: Any, *, opens: bool) -> Delimiter:
        if opens:
            return Delimiter(spec.name, opens=True, pattern=spec.open_re, literals=spec.open_literals)
        return Delimiter(spec.name, opens=False, pattern=spec.close_re, literals=spec.close_literals)
