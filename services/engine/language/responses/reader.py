"""Reads a model's output as the parts of a message, while it is written."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from services.engine.language.responses.calls import CallMaker
from services.engine.language.responses.delimiters import Delimiter, Mark
from services.engine.language.responses.fields import LONGEST_BODY, Field, Kind
from services.engine.language.responses.layout import Layout
from services.engine.language.responses.message import MessagePart, ToolCall, pieces
from services.engine.language.responses.prose import Prose
from services.engine.language.responses.tape import Tape
from services.engine.language.responses.typed_arguments import ToolTypes
from services.engine.threads.turns import give_way


class _Region:
    """Text between two delimiters, in a field; None: in none."""

    def __init__(self, field: Field | None, opened_by: str = "", captures: dict[str, str] | None = None) -> None:
        self.field = field
        self.opened_by = opened_by
        self.captures = captures or {}
        self.body: list[str] = []
        self.size = 0
        self.unsaid = 0
        """Characters at the beginning, with the delimiter, that the model did not write."""
        self.is_lost = False
        """Whether it is too long to be parsed and goes to the content."""

    def add(self, text: str) -> None:
        self.body.append(text)
        self.size += len(text)

    def said(self) -> str:
        return "".join([self.opened_by, *self.body])[self.unsaid :]


class ResponseReader:
    """Reads one answer. Not thread-safe.

    No text makes it raise, and none is lost: what is not the tool call that it seems to be belongs to the content.
    """

    def __init__(self, layout: Layout, prompt: str, tools: Sequence[dict[str, Any]], key: str) -> None:
        types = ToolTypes(tools)
        self._layout = layout
        self._has_tools = bool(types)
        self._maker = CallMaker(types, key)
        self._tape = Tape()
        self._prose = {name: Prose(strip=field.strip, join=field.join) for name, field in layout.fields.items()}
        self._content = self._prose.setdefault("content", Prose())
        self._implicit = layout.fields[layout.implicit] if layout.implicit is not None else None
        self._said: dict[Kind, list[str]] = {Kind.REASONING: [], Kind.CONTENT: []}
        self._calls: list[ToolCall] = []
        self._is_closed = False
        self._region = _Region(self._implicit)
        self._begin_with(layout.begun(prompt))

    def push(self, text: str) -> MessagePart:
        """Returns what the text makes certain. Nothing once closed."""
        if not text or self._is_closed:
            return MessagePart()
        self._tape.add(text)
        self._read(final=False)
        return self._part()

    def close(self, ending: str = "") -> MessagePart:
        """Returns the rest. `ending` is the text of the token that ended the output; it belongs to no field."""
        if self._is_closed:
            return MessagePart()
        self._is_closed = True
        self._tape.end(ending)
        self._read(final=True)
        self._end_region(closed=False)
        return self._part()

    def fork(self, key: str) -> "ResponseReader":
        """Returns a reader that has read the same and goes on by itself; `key` makes the ids of its calls."""
        shared = (self._layout, *self._layout.fields.values(), self._maker.types)
        twin = deepcopy(self, {id(each): each for each in shared})
        twin._maker.key = key
        return twin

    def _begin_with(self, begun: str) -> None:
        for piece in pieces(begun):
            give_way()
            self._tape.add(piece)
            self._read(final=False)
        self._tape.is_prompt()
        self._region.unsaid = len(self._region.opened_by) + self._region.size
        for prose in self._prose.values():
            prose.forget()
        self._part()

    def _part(self) -> MessagePart:
        reasoning, content = ("".join(self._said[kind]) for kind in (Kind.REASONING, Kind.CONTENT))
        part = MessagePart(reasoning, content, tuple(self._calls))
        self._said = {Kind.REASONING: [], Kind.CONTENT: []}
        self._calls = []
        return part

    def _read(self, *, final: bool) -> None:
        while True:
            field = self._region.field
            start, delimiter, mark = self._tape.find(self._layout.watch(field.name if field else None), final=final)
            self._take(*self._tape.cut(start))
            if delimiter is None or mark is None:
                return
            self._pass(delimiter, mark, start)

    def _pass(self, delimiter: Delimiter, mark: Mark, start: int) -> None:
        field = self._layout.fields[delimiter.field]
        marked = bool(self._tape.between(start, mark.end).strip())
        if start == mark.end:
            self._tape.bar(delimiter)
        if delimiter.opens and field.kind is Kind.CALLS and not marked and not self._has_tools:
            self._tape.bar(delimiter)  # an answer that only looks like a call, where there is nothing to call
            return
        whole, said = self._tape.cut(mark.end)
        if delimiter.opens:
            self._end_region(closed=True)
            self._begin_region(_Region(field, whole, mark.captures))
            self._region.unsaid = len(whole) - len(said)
        else:
            self._region.captures |= mark.captures
            self._end_region(closed=True, closed_by=said)

    def _take(self, whole: str, said: str) -> None:
        """Adds text to the region. `said` is the end of it that the model wrote."""
        region = self._region
        if region.field is None or not whole:
            return
        if region.is_lost:
            self._say(Kind.CONTENT, self._content.write(said))
        elif region.field.kind is Kind.CALLS:
            region.unsaid += len(whole) - len(said)
            region.add(whole)
            if region.size > LONGEST_BODY:
                self._say(Kind.CONTENT, self._content.write(region.said()))
                region.is_lost = True
                region.body = []
        elif region.field.kind is not Kind.DROPPED:
            self._say(region.field.kind, self._prose[region.field.name].write(said))

    def _begin_region(self, region: _Region) -> None:
        self._region = region
        if region.field is not None:
            self._prose[region.field.name].begin()

    def _end_region(self, *, closed: bool, closed_by: str = "") -> None:
        """Ends the region and goes back to where no delimiter has opened one."""
        region = self._region
        if region.is_lost:
            self._say(Kind.CONTENT, self._content.write(closed_by))
        elif region.field is not None and region.field.kind is Kind.CALLS and (region.opened_by or region.body):
            body, marked = "".join(region.body), bool(region.opened_by.strip())
            try:
                value = region.field.parse(body, region.captures, closed=closed)
                self._calls += self._maker.calls(value, marked=marked)
            except (ValueError, RecursionError):
                self._say(Kind.CONTENT, self._content.write(region.said() + closed_by))
        self._begin_region(_Region(self._implicit))

    def _say(self, kind: Kind, text: str) -> None:
        if text:
            self._said[kind].append(text)
