"""An entry of the table of formats."""

from dataclasses import dataclass
from typing import Any

CALL = {"type": "function", "function": "{content}"}
"""A region is an object with `name` and `arguments`."""
NAMED_CALL = {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}}
"""A region is the arguments; the delimiters have the name."""
CALL_WITH_ID = {"type": "function", "id": "{id}", "function": {"name": "{name}", "arguments": "{content}"}}
THINK = {"open": "<think>", "close": "</think>", "content": "text"}


@dataclass(frozen=True)
class KnownFormat:
    """A format, in the form of a `response_template` of transformers, and how to know the models that write it."""

    name: str
    template: dict[str, Any]
    marks: tuple[str, ...] = ()
    """Texts all of which are in the chat template of such a model."""
    either: tuple[str, ...] = ("",)
    """Texts at least one of which is."""
    without: tuple[str, ...] = ()
    """Texts that are in none."""

    def writes(self, chat_template: str) -> bool:
        """Returns whether a model with this chat template answers in this format."""
        return (
            all(mark in chat_template for mark in self.marks)
            and any(mark in chat_template for mark in self.either)
            and not any(mark in chat_template for mark in self.without)
        )
