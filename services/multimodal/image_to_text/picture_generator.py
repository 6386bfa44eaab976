"""Generation with an image-to-text model, which reads exactly one picture."""

from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.requests.resolution import ModelDefaults, TokenizedInput
from services.engine.generation.running.media import PromptMedia
from services.engine.media.refusal import ImageRefused
from services.engine.pictures.reader import PictureReader
from services.generation.ask import GenerationAsk
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts

_FIELD = "prompt"
"""The field that violations of prompt and question name."""


@dataclass(frozen=True)
class PictureAsk(GenerationAsk):
    """A request for text about the only item of `media`. The decoder continues `prompt`."""

    question: str = ""
    """A question that the encoder reads with the picture."""


class PictureGenerator(TextGenerator):
    """A TextGenerator for PictureAsk requests."""

    def __init__(self, parts: GeneratorParts, reader: PictureReader) -> None:
        super().__init__(parts)
        self._reader = reader

    def _tokens(self, ask: GenerationAsk, defaults: ModelDefaults) -> tuple[None, TokenizedInput]:  # noqa: ARG002
        """See TextGenerator."""
        assert isinstance(ask, PictureAsk)
        (shown,) = ask.media
        wrong: list[Violation] = []
        behind, medium = self._behind(ask, wrong), None
        if shown.sent.wrong:
            wrong.append(Violation(shown.field, shown.sent.wrong))
        elif not wrong:  # rendering a question that is too long into the image would be wasted work
            try:
                medium = self._reader.read(shown.sent.data, shown.sent.media_type, ask.question)
            except ImageRefused as refused:
                wrong.append(Violation(shown.field, str(refused)))
        if medium is None:
            raise InvalidArgument(wrong)
        source, media = [0] * medium.token_count, PromptMedia([medium], [])
        return None, TokenizedInput(self._reader.pictures.begun(behind), ask.delivered, _FIELD, source, media)

    def _behind(self, ask: PictureAsk, wrong: list[Violation]) -> list[int]:
        """Returns the tokens of the prompt. Appends violations of prompt and question to `wrong`."""
        try:
            question = self._encoder.encode(ask.question, field=_FIELD) if ask.question else []
            behind = self._encoder.encode(ask.prompt or "", field=_FIELD, add_special_tokens=False)
        except InvalidArgument as error:
            wrong += error.violations
            return []
        most = self._limits.context_tokens
        if len(question) > most:
            wrong.append(Violation(_FIELD, f"has {len(question)} tokens, and the model reads at most {most}"))
        return behind
