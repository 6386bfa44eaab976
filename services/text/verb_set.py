"""What a text model can do, as the servicer sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.engine.batching.answer import Answer
from services.engine.texts import EncodedToken
from services.text.ask import Generation, GenerationAsk, TextsAsk
from services.text.understanding_ask import EmbedAsk, Vectors


class Generator(Protocol):
    """The verb Generate."""

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts a request."""
        ...


class Tokenizer(Protocol):
    """The verbs Tokenize and Detokenize."""

    async def tokenize(self, texts: list[str], *, add_special_tokens: bool) -> list[list[EncodedToken]]:
        """Returns tokens."""
        ...

    async def detokenize(self, sequences: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        """Returns texts."""
        ...


class TextsVerb(Protocol):
    """The verb Summarize or Translate."""

    async def start(self, ask: TextsAsk) -> list[Generation]:
        """Accepts all texts of a request or none."""
        ...


class Embedder(Protocol):
    """The verb Embed."""

    async def embed(self, ask: EmbedAsk) -> Answer[Sequence[Vectors]]:
        """Returns what each text is embedded as."""
        ...


@dataclass(frozen=True)
class TextVerbs:
    """What a loaded text model can do."""

    tokenizer: Tokenizer
    generator: Generator | None = None
    summarizer: TextsVerb | None = None
    translator: TextsVerb | None = None
    embedder: Embedder | None = None
