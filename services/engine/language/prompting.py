"""From texts and conversations to token ids and back, by the model's own tokenizer and chat template.

Texts are encoded without truncation and padding: those are state of a fast tokenizer that threads would share.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument, Violation
from services.engine.language.control_tokens import ControlTokens
from services.engine.language.texts import Chat, EncodedText
from services.engine.threads.turns import give_way, tokenizing

_Said = TypeVar("_Said")
_LONGEST_CHARACTER = 4
"""Bytes in UTF-8."""
_MANY_TOKENS = 1_024
"""That take a good half of a millisecond to decode."""


class PromptEncoder:
    """Encodes and decodes. Its methods may run in any thread."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_tokens: int) -> None:
        # Its own types tell one result for each of many ways to call it.
        self._tokenizer: Any = tokenizer
        self.is_fast = bool(tokenizer.is_fast)
        """Whether the tokenizer is compiled code."""
        self._decoder: Any = tokenizer.backend_tokenizer if _decodes_plainly(tokenizer) else None
        self._control = ControlTokens(tokenizer)
        self._special_ids = frozenset(tokenizer.all_special_ids)
        longest = max(map(len, tokenizer.get_vocab()), default=1)
        self.most_characters = longest * context_tokens
        """A longer text fits the context in no tokens."""

    def encode(self, text: str, *, field: str, add_special_tokens: bool = True) -> list[int]:
        """Returns the ids of `text`. In what `render` or `quoted` gave, texts of callers hold no control tokens.

        Raises:
            InvalidArgument: it is so long that it cannot fit the context, whatever its tokens. `field` is its name.
        """
        shown = self.shown(text)
        self._require_length(shown, field)
        with tokenizing(len(text)):
            if shown != text and self._control.hides(text):
                return self._control.encode(text, field)
            return self._tokenizer(shown, add_special_tokens=add_special_tokens)["input_ids"]

    def encode_tokens(self, text: str, most: int, *, add_special_tokens: bool) -> EncodedText | None:
        """Returns the tokens of `text`, of any length, with pieces and offsets; None if they are more than `most`."""
        fast = self.is_fast
        with tokenizing(len(text)):
            encoded = self._tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=fast)
        ids: list[int] = encoded["input_ids"]
        if len(ids) > most:
            return None
        offsets: list[tuple[int | None, int | None]] = encoded["offset_mapping"] if fast else [(None, None)] * len(ids)
        give_way()
        return EncodedText(ids, self._tokenizer.convert_ids_to_tokens(ids), offsets, self._special_ids)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Returns the text of `ids`, all of which are in the vocabulary."""
        if self._decoder is not None and len(ids) > _MANY_TOKENS:
            # What decodes several sequences lets other threads go on meanwhile.
            return self._decoder.decode_batch([list(ids)], skip_special_tokens=skip_special_tokens)[0]
        if self._decoder is not None:
            return self._decoder.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return self._tokenizer.decode(
            list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )

    def longest_texts(self, count: int) -> list[int]:
        """Returns the bytes in UTF-8 of the `count` longest texts that tokens have when decoded alone, longest first.

        Fewer if there are fewer tokens.
        """
        longest: list[int] = []
        for piece, token_id in sorted(self._tokenizer.get_vocab().items(), key=lambda item: len(item[0]), reverse=True):
            # No vocabulary spells more than a character of text in a character of a piece.
            if len(longest) == count and len(piece) * _LONGEST_CHARACTER <= min(longest, default=0):
                break
            size = len(self.decode([token_id], skip_special_tokens=False).encode())
            longest = sorted([*longest, size], reverse=True)[:count]
        return longest

    @property
    def has_template(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self._tokenizer.chat_template)

    def render(self, chat: Chat, field: str = "chat", *, quoted: bool = False) -> str:
        """Returns the conversation as the model's chat template writes it, for `encode`. `field` is its name.

        `quoted` tells that callers' texts in it are.

        Raises:
            InvalidArgument: the model has no template, or the template refuses the conversation.
        """
        template = self._tokenizer.chat_template
        if not template:
            raise InvalidArgument([Violation(field, "the model has no chat template; send a prompt instead")])
        if chat.tools and "tools" not in str(template):
            raise InvalidArgument([Violation(f"{field}.tools", "the model's chat template has no place for tools")])
        try:
            return self._tokenizer.apply_chat_template(
                chat.messages if quoted else self.quoted(chat.messages),
                tools=(chat.tools if quoted else self.quoted(chat.tools)) or None,
                add_generation_prompt=not chat.continue_last,
                continue_final_message=chat.continue_last,
                tokenize=False,
            )
        except (TemplateError, ValueError, TypeError, KeyError, RecursionError) as error:
            refusal = f"the model's chat template refuses it: {self.shown(str(error))}"
            raise InvalidArgument([Violation(field, refusal)]) from error

    def quoted(self, said: _Said) -> _Said:
        """Returns a caller's text, or values with some, to stand for `encode` among control tokens that are meant."""
        return self._control.marked(said)

    def shown(self, text: str) -> str:
        """Returns what `render` or `quoted` gave as callers may see it."""
        return self._control.unmarked(text) if self._control.has_marks(text) else text

    def _require_length(self, text: str, field: str) -> None:
        if len(text) > self.most_characters:
            raise InvalidArgument(
                [Violation(field, f"has {len(text)} characters, more than fit the context in any tokens")]
            )


def _decodes_plainly(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Returns whether the tokenizer's own way to decode adds nothing to that of the library behind it.

    That is asked directly then: a token at a time, what lies between takes several times as long.
    """
    plain, own = PreTrainedTokenizerFast, type(tokenizer)
    return isinstance(tokenizer, plain) and own.decode is plain.decode and own._decode is plain._decode
