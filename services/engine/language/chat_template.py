"""What a model's chat template reads: which variables, and by which name the reasoning of earlier turns."""

import inspect
import re
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

REASONING = "reasoning_content"
"""The name of an assistant's reasoning in turns, as most templates call it."""

_THOUGHT = "f3b1c9"
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
    """The chat template of a tokenizer, which may be several by name; `text` is empty if there is none.

    Of several, as transformers has it, `tool_use` is for conversations with tools and `default` for others.
    """

    def __init__(self, tokenizer: Any) -> None:
        own = tokenizer.chat_template
        named: dict[str, str] = own if isinstance(own, dict) else {"default": own or ""}
        plain = named.get("default", "")
        with_tools = named.get("tool_use", plain)
        self.text = plain if plain == with_tools else f"{plain}\n{with_tools}"
        given = _given(tokenizer) if self.text else set[str]()
        self._read = {False: _variables(plain) - given, True: _variables(with_tools) - given}
        self.variables = tuple(sorted(self._read[False] | self._read[True]))
        """The names of further variables that it reads."""
        self.thoughtless = {name: False for name in _THINKING if name in self.variables}
        """The variables that keep a model from thinking before it answers."""
        names = filter(self._reads, (REASONING, *_OTHER_NAMES))
        self._reasoning = next((name for name in names if _shows(tokenizer, name)), "")

    @property
    def has_tools(self) -> bool:
        """Whether it has a place for tools."""
        return "tools" in self.text

    @property
    def has_reasoning(self) -> bool:
        """Whether it has a place for the reasoning of earlier turns."""
        return bool(self._reasoning)

    def variables_of(self, *, tools: bool) -> tuple[str, ...]:
        """Returns the names of those that it reads in conversations with tools, or without."""
        return tuple(sorted(self._read[tools]))

    def turn(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Returns a turn with its reasoning, if it has one, under the name that the template reads."""
        return {self._reasoning if name == REASONING else name: said for name, said in turn.items()}

    def _reads(self, name: str) -> bool:
        return re.search(rf"""\.{name}\b|['"]{name}['"]""", self.text) is not None


def _shows(tokenizer: Any, name: str) -> bool:
    """Returns whether a conversation is written with an assistant's reasoning of that name.

    Some templates have the name for a kind of content only. One that refuses what is tried is believed.
    """
    asked, said = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", name: _THOUGHT}
    call = {"type": "function", "id": "000000000", "function": {"name": "c", "arguments": {}}}
    result = {"role": "tool", "content": "d", "name": "c", "tool_call_id": "000000000"}
    refused = 0
    conversations = ([asked, said], [asked, {**said, "tool_calls": [call]}, result])
    for turns in conversations:
        try:
            if _THOUGHT in tokenizer.apply_chat_template(turns, tokenize=False):
                return True
        except Exception:  # whatever a template raises
            refused += 1
    return refused == len(conversations)


def _given(tokenizer: Any) -> set[str]:
    arguments = inspect.signature(tokenizer.apply_chat_template).parameters.keys() - {"documents"}
    return _GIVEN | arguments | tokenizer.special_tokens_map.keys()


def _variables(text: str) -> set[str]:
    reader = Environment(extensions=[_Generation, loopcontrols])  # noqa: S701  (it reads templates, and renders none)
    try:
        found = meta.find_undeclared_variables(reader.parse(text))
    except TemplateSyntaxError:
        return set()  # rendering it tells what is wrong with it
    return found - reader.globals.keys()
