"""Finds the format of a model's responses."""

import logging
from collections.abc import Sequence
from typing import Any

from services.engine.language.responses.known import KNOWN_FORMATS, KnownFormat
from services.engine.language.responses.layout import Layout
from services.engine.language.responses.reader import ResponseReader

log = logging.getLogger(__name__)


class ResponseFormat:
    """How a model writes its answers. Thread-safe.

    Raises:
        ValueError: the template cannot be served; the message says why.
    """

    def __init__(self, name: str, template: dict[str, Any], *, is_known: bool = False) -> None:
        """`template` is a `response_template` of transformers; `is_known` tells that it is from our own table."""
        self.name = name
        self._layout = Layout(template, whole=is_known)

    def reader(self, prefix: str, tools: Sequence[dict[str, Any]], key: str) -> ResponseReader:
        """Returns a reader of one answer.

        `prefix` is the prompt as the chat template wrote it: it may have begun the answer. `tools` are as chat
        templates take them. `key` makes the ids of calls that the model gives none: the same for the same key.
        """
        return ResponseReader(self._layout, prefix, tools, key)


def find_response_format(tokenizer: Any, own: dict[str, Any] | None = None) -> ResponseFormat | None:
    """Returns the format of a model's responses; None: unknown.

    It is, in this order, the operator's own template, the tokenizer's, or the one that our table has for the chat
    template.

    Raises:
        ValueError: the operator's own template cannot be served; the message says why.
    """
    if own is not None:
        return ResponseFormat("configured", own)
    published = getattr(tokenizer, "response_template", None)
    if published is not None:
        try:
            return ResponseFormat("own", published)
        except ValueError as error:
            log.warning("the tokenizer's response template is not used: %s", error)
    written = _texts(getattr(tokenizer, "chat_template", None))
    return next((found for each in KNOWN_FORMATS if each.writes(written) and (found := _known(each))), None)


def _known(each: KnownFormat) -> ResponseFormat | None:
    try:
        return ResponseFormat(each.name, each.template, is_known=True)
    except ValueError as error:
        log.warning("responses are not read as %s: %s", each.name, error)
        return None


def _texts(template: Any) -> str:
    """Returns the text of a chat template, or of all if they have names."""
    if isinstance(template, dict):
        return "\n".join(text for text in template.values() if isinstance(text, str))
    return template if isinstance(template, str) else ""
