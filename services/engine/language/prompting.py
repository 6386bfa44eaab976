"""Encodes texts and conversations to token ids and decodes them, by the model's own tokenizer and chat template.

Texts are encoded without truncation and padding: those are state of a fast tokenizer that threads would share.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument, Violation
from services.engine.language.chat_template import REASONING, ChatTemplate
from services.engine.language.control_tokens import ControlTokens
from services.engine.language.texts import Chat, EncodedText
from services.engine.threads.turns import give_way, tokenizing

_Said = TypeVar("_Said")
_LONGEST_CHARACTER = 4
"""Bytes of the longest character in UTF-8."""
_REFUSALS = (TemplateError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What a template raises about what it was given."""
_MANY_TOKENS = 1_024
"""Number of tokens that take about half a millisecond to decode."""


class PromptEncoder:
    """Encodes prompts and decodes tokens. Thread-safe."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_tokens: int) -> None:
        # Any: its type annotations do not fit all ways to call it.
        self._tokenizer: Any = tokenizer
        self.is_fast = bool(tokenizer.is_fast)
        """Whether the tokenizer is a fast (Rust) one."""
        self._decoder: Any = tokenizer.backend_tokenizer if _decodes_plainly(tokenizer) else None
        self._control = ControlTokens(tokenizer)
        self.template = ChatTemplate(tokenizer)
        """What the model's chat template reads."""
        self._special_ids = frozenset(tokenizer.all_special_ids)
        longest = max(map(len, tokenizer.get_vocab()), default=1)
        self.most_characters = longest * context_tokens
        """Longer texts cannot fit the context, whatever their tokens are."""

    def encode(self, text: str, *, field: str, add_special_tokens: bool = True) -> list[int]:
        """Returns the ids of `text`. Callers' texts from `render` or `quoted` are encoded without control tokens.

        Raises:
            InvalidArgument: The text is too long to fit the context, whatever its tokens. `field` is its name.
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
            # `decode_batch` releases the GIL.
            return self._decoder.decode_batch([list(ids)], skip_special_tokens=skip_special_tokens)[0]
        if self._decoder is not None:
            return self._decoder.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return self._tokenizer.decode(
            list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )

    def longest_texts(self, count: int) -> list[int]:
        """Returns the UTF-8 lengths of the `count` longest single-token texts, longest first.

        There are fewer if the vocabulary has fewer tokens.
        """
        longest: list[int] = []
        for piece, token_id in sorted(self._tokenizer.get_vocab().items(), key=lambda item: len(item[0]), reverse=True):
            # In every vocabulary, a character of a piece stands for at most one character of text.
            if len(longest) == count and len(piece) * _LONGEST_CHARACTER <= min(longest, default=0):
                break
            size = len(self.decode([token_id], skip_special_tokens=False).encode())
            longest = sorted([*longest, size], reverse=True)[:count]
        return longest

    @property
    def has_template(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self.template.text)

    def render(self, chat: Chat, field: str = "chat", *, quoted: bool = False) -> str:
        """Returns the conversation as the model's chat template writes it, for `encode`. `field` is its name.

        `quoted` tells that callers' texts in it are.

        Raises:
            InvalidArgument: the model has no template, or the template has no place for part of it, or refuses it.
        """
        if not self.has_template:
            raise InvalidArgument([Violation(field, "the model has no chat template; send a prompt instead")])
        if wrong := list(self._without_place(chat, field)):
            raise InvalidArgument(wrong)
        turns = [self.template.turn(turn) for turn in chat.messages]
        variables = {} if chat.thinks else dict[str, Any](self.template.thoughtless)
        variables |= {name: self._control.marked(value, names=True) for name, value in chat.variables.items()}
        try:
            return self._tokenizer.apply_chat_template(
                turns if quoted else self.quoted(turns),
                tools=(chat.tools if quoted else self.quoted(chat.tools)) or None,
                add_generation_prompt=not chat.continue_last,
                continue_final_message=chat.continue_last,
                tokenize=False,
                **variables,
            )
        except _REFUSALS as error:
            refusal = f"the model's chat template refuses it: {self.shown(str(error))}"
            raise InvalidArgument([Violation(field, refusal)]) from error

    def _without_place(self, chat: Chat, field: str) -> Iterator[Violation]:
        """Yields what the template would silently leave out."""
        template = self.template
        if chat.tools and not template.has_tools:
            yield Violation(f"{field}.tools", "the model's chat template has no place for tools")
        for i, turn in enumerate(chat.messages):
            if REASONING in turn and not template.has_reasoning:
                yield Violation(f"{field}.messages[{i}].reasoning", "the model's chat template has no place for it")
        read = template.variables_of(tools=bool(chat.tools))
        wrong = f"the model's chat template does not read it; it reads {', '.join(read) or 'no further variables'}"
        for name in chat.variables:
            if name not in read:
                yield Violation(f"{field}.template_variables_json[{name}]", wrong)

    def quoted(self, said: _Said) -> _Said:
        """Marks a caller's text, or nested values, so that `encode` makes no control tokens of it."""
        return self._control.marked(said)

    def shown(self, text: str) -> str:
        """Removes the marks of `render` or `quoted`, for messages to callers."""
        return self._control.unmarked(text) if self._control.has_marks(text) else text

    def _require_length(self, text: str, field: str) -> None:
        if len(text) > self.most_characters:
            raise InvalidArgument(
                [Violation(field, f"has {len(text)} characters, more than fit the context in any tokens")]
            )


def _decodes_plainly(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Returns whether the tokenizer's `decode` only wraps the Rust library's.

    The library is called directly then: for single tokens, the wrapper takes several times as long.
    """
    plain, own = PreTrainedTokenizerFast, type(tokenizer)
    return isinstance(tokenizer, plain) and own.decode is plain.decode and own._decode is plain._decode
