"""An answer that is parsed while it is generated."""

from dataclasses import dataclass

from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import Finish
from services.engine.language.responses.message import MessagePart
from services.engine.language.responses.reader import ResponseReader


@dataclass(frozen=True)
class ParsedAnswer:
    """Turns the text of one candidate, with its special tokens, into parts of a message."""

    reader: ResponseReader
    token_texts: TokenTexts

    def push(self, text: str) -> MessagePart:
        """Returns what the text that follows adds to the message."""
        return self.reader.push(text)

    def close(self, finish: Finish) -> MessagePart:
        """Returns what the end adds. The token that ended it may be a mark of the format; the text is without it."""
        return self.reader.close("" if finish.token_id is None else self.token_texts[finish.token_id])
