"""What a model's chat template reads: which variables, and by which name the reasoning of earlier turns."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

REASONING = "reasoning_content"
"""The name of an assistant's reasoning in turns, as most templates call it."""

_OTHER_NAMES = ("thinking", "reasoning")
_THINKING = ("enable_thinking", "thinking")
_GIVEN = {"messages", "tools", "raise_exception", "strftime_now"}
"""Variables that every template is given, beside the arguments of `apply_chat_template`."""


class _Generation(Extension):
    """Understands the mark that training puts around what the assistant says."""

    tags = {"generation"}  # noqa: RUF012  (as Extension declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """The chat template of a tokenizer, which may be several by name; `text` is empty if there is none."""

    def __init__(self, tokenizer: Any) -> None:
        own = tokenizer.chat_template
        texts: list[str] = list(own.values()) if isinstance(own, dict) else [own] if own else []
        self.text = "\n".join(texts)
        self.variables = tuple(sorted(_variables(texts) - _given(tokenizer))) if texts else ()
        """The names of further variables that it reads."""
        self.thoughtless = {name: False for name in _THINKING if name in self.variables}
        """The variables that keep a model from thinking before it answers."""
        self._reasoning = next(filter(self._reads, (REASONING, *_OTHER_NAMES)), "")

    @property
    def has_tools(self) -> bool:
        """Whether it has a place for tools."""
        return "tools" in self.text

    @property
    def has_reasoning(self) -> bool:
        """Whether it has a place for the reasoning of earlier turns."""
        return bool(self._reasoning)

    def turn(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Returns a turn with its reasoning, if it has one, under the name that the template reads."""
        return {self._reasoning if name == REASONING else name: said for name, said in turn.items()}

    def _reads(self, name: str) -> bool:
        return re.search(rf"""\.{name}\b|['"]{name}['"]""", self.text) is not None


def _given(tokenizer: Any) -> set[str]:
    arguments = inspect.signature(tokenizer.apply_chat_template).parameters.keys() - {"documents"}
    return _GIVEN | arguments | tokenizer.special_tokens_map.keys()


def _variables(texts: Iterable[str]) -> set[str]:
    reader = Environment(extensions=[_Generation, loopcontrols])  # noqa: S701  (it reads templates, and renders none)
    found: set[str] = set()
    for text in texts:
        try:
            found |= meta.find_undeclared_variables(reader.parse(text))
        except TemplateSyntaxError:
            continue  # rendering it tells what is wrong with it
    return found - reader.globals.keys()
