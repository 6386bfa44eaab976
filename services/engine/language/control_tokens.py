"""Keeps texts of callers from being tokenized as control tokens of the chat template.

A template writes texts and control tokens into one string, in which a caller's `<|im_end|>` would look like its own.
"""

import re
import secrets
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Tokenizer

from sensorium.errors import InvalidArgument, Violation

_NAMES = ("role", "type")
"""Keys whose values are names of the contract in messages, but a caller's text in tool arguments and schemas."""


class ControlTokens:
    """The control tokens of a tokenizer. Its methods may run in any thread."""

    def __init__(self, tokenizer: Any) -> None:
        added: dict[int, AddedToken] = tokenizer.added_tokens_decoder
        self._control = {token.content: number for number, token in added.items() if token.special and token.content}
        self._unknown: int | None = tokenizer.unk_token_id
        # Random, so that no caller can guess it. With a number after it, it stands for an entry of `_texts`.
        self._mark = secrets.token_hex(8)
        self._texts = ["", *self._control]
        self._numbers = {text: i for i, text in enumerate(self._texts)}
        written = one_of(self._control) if self._control else "(?!)"
        begun = one_of(_beginnings(self._control)) if self._control else "(?!)"
        self._written = re.compile(written)
        self._begun = re.compile(f"{begun}$")
        self._joined = "\0".join(["", *self._control, ""])
        self._longest = max(map(len, self._control), default=0)
        self._last = {text[-1] for text in self._control}
        self._either = re.compile(rf"{self._mark}(\d+)\.|{written}")
        self._plain: Tokenizer | None = None
        if tokenizer.is_fast:
            self._plain, self._own_ids = self._without_control(tokenizer.backend_tokenizer, added)

    def marked(self, said: Any, *, names: bool = False) -> Any:
        """Returns a caller's text, or nested values with texts, with marks in place of control tokens.

        With `names`, a plain word stays as it is, since the template may look for it. Keys are always treated so.
        """
        if isinstance(said, dict):
            return {
                self.marked(key, names=True): self.marked(value, names=key in _NAMES) for key, value in said.items()
            }
        if isinstance(said, list):
            return [self.marked(each) for each in said]
        if not isinstance(said, str) or (names and said.isidentifier()):
            return said
        said = self._written.sub(lambda found: self._stand_in(found[0]), said)
        nothing, lead = self._stand_in(""), len(said) - len(said.lstrip())
        goes_on = self._goes_on(said.strip())
        # The text after it, even after trimming by the template, might complete a control token.
        if begun := self._begun.search(said.rstrip()) or self._begun.search(said):
            broken = "".join(f"{character}{nothing}" for character in begun[0])  # another token may begin inside it
            said = f"{said[: begun.start()]}{broken}{said[begun.end() :]}"
        return f"{said[:lead]}{nothing}{said[lead:]}" if goes_on else said

    def _goes_on(self, said: str) -> bool:
        """Returns whether a text may continue or complete a token that a template begins, as in `<{{ name }}>`."""
        if not said or said.isidentifier():  # plain words always stay as they are
            return False
        heads = (said[: i + 1] for i, last in enumerate(said[: self._longest]) if last in self._last)
        return said in self._joined or any(f"{head}\0" in self._joined for head in heads)

    def has_marks(self, text: str) -> bool:
        """Returns whether a text contains marks."""
        return self._mark in text

    def hides(self, text: str) -> bool:
        """Returns whether the text without its marks would contain other control tokens than with them."""
        return self._written.findall(text) != self._written.findall(self.unmarked(text))

    def unmarked(self, text: str) -> str:
        """Replaces marks by what the caller wrote."""
        return self._either.sub(lambda found: self._texts[int(found[1])] if found[1] else found[0], text)

    def encode(self, text: str, field: str) -> list[int]:
        """Tokenizes a text with marks: unmarked control tokens are the template's, everything else is plain text.

        Raises:
            InvalidArgument: The tokenizer cannot write a quoted control token as plain text. `field` names the text.
        """
        ids = self._plain_ids(text)
        if ids is None:
            quoted = {self._texts[int(number)] for number in self._either.findall(text) if number} - {""}
            wrong = (
                f"holds {', '.join(sorted(quoted))}, which this model's tokenizer cannot write as text: leave it out"
            )
            raise InvalidArgument([Violation(field, wrong)])
        return [self._own_ids.get(number, number) for number in ids]

    def _plain_ids(self, text: str) -> list[int] | None:
        """Tokenizes a text with marks by the plain tokenizer; None if that would make control tokens of plain text."""
        if self._plain is None:
            return None
        stood_in = self._either.sub(lambda at: self._texts[int(at[1])] if at[1] else self._stand_in(at[0]), text)
        ids = self._plain.encode(stood_in, add_special_tokens=False).ids
        spelled = {*ids} - self._own_ids.keys() - {self._unknown}
        return ids if spelled.isdisjoint(self._control.values()) else None

    def _stand_in(self, control: str) -> str:
        return f"{self._mark}{self._numbers[control]}."

    def _without_control(self, own: Tokenizer, added: dict[int, AddedToken]) -> tuple[Tokenizer, dict[int, int]]:
        """Returns a tokenizer with the same vocabulary in which stand-ins are the control tokens, and these plain text.

        Also returns the original ids of added tokens, by their ids in the new tokenizer.
        """
        plain = Tokenizer(own.model)
        plain.normalizer, plain.pre_tokenizer = own.normalizer, own.pre_tokenizer  # type: ignore[assignment]
        names = {
            number: self._stand_in(token.content) if token.content in self._control else token.content
            for number, token in sorted(added.items())
        }
        plain.add_tokens(
            [
                AddedToken(
                    name,
                    single_word=added[number].single_word,
                    lstrip=added[number].lstrip,
                    rstrip=added[number].rstrip,
                    normalized=added[number].normalized and name == added[number].content,
                )
                for number, name in names.items()
            ]
        )
        return plain, {plain.token_to_id(name): number for number, name in names.items()}  # type: ignore[misc]


def one_of(texts: Iterable[str]) -> str:
    """Returns a regular expression that matches the longest of `texts`: a prefix tree, fast even for thousands."""
    behind: dict[str, list[str]] = {}
    for text in filter(None, texts):
        behind.setdefault(text[0], []).append(text[1:])
    branches = "|".join(re.escape(first) + (one_of(rest) if any(rest) else "") for first, rest in behind.items())
    return f"(?:{branches}){'?' if '' in texts else ''}"


def _beginnings(texts: Iterable[str]) -> set[str]:
    return {text[:length] for text in texts for length in range(1, len(text))}
