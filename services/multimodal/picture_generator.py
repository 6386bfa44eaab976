"""Generation by a model that writes about one picture."""

from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.requests.resolution import GenerationLimits, ModelDefaults, TokenizedInput
from services.engine.generation.running.media import PromptMedia
from services.engine.language.prompting import PromptEncoder
from services.engine.media.refusal import ImageRefused
from services.engine.pictures.reader import PictureReader
from services.generation.ask import GenerationAsk
from services.generation.generation_threads import GenerationThreads
from services.generation.generator import TextGenerator

_FIELD = "prompt"
"""What a violation calls prompt and question."""


@dataclass(frozen=True)
class PictureAsk(GenerationAsk):
    """A wish for text about the only one of `media`. It goes on behind `starts` and `prompt`."""

    question: str = ""
    """What the model reads together with the picture."""
    starts: tuple[int, ...] = ()


class PictureGenerator(TextGenerator):
    """Prepares each PictureAsk and hands it to the engine."""

    def __init__(
        self,
        threads: GenerationThreads,
        encoder: PromptEncoder,
        defaults: ModelDefaults,
        limits: GenerationLimits,
        reader: PictureReader,
    ) -> None:
        super().__init__(threads, encoder, defaults, limits)
        self._reader = reader

    def _tokens(self, ask: GenerationAsk, defaults: ModelDefaults) -> tuple[None, TokenizedInput]:  # noqa: ARG002
        """See TextGenerator."""
        assert isinstance(ask, PictureAsk)
        (shown,) = ask.media
        wrong: list[Violation] = []
        behind, medium = self._behind(ask, wrong), None
        if shown.sent.wrong:
            wrong.append(Violation(shown.field, shown.sent.wrong))
        elif not wrong:  # what is too long is not even written above an image
            try:
                medium = self._reader.read(shown.sent.data, shown.sent.media_type, ask.question)
            except ImageRefused as refused:
                wrong.append(Violation(shown.field, str(refused)))
        if medium is None:
            raise InvalidArgument(wrong)
        source, media = [0] * medium.token_count, PromptMedia([medium], [])
        return None, TokenizedInput([*ask.starts, *behind], ask.delivered, _FIELD, source, media)

    def _behind(self, ask: PictureAsk, wrong: list[Violation]) -> list[int]:
        """Returns the tokens of the prompt. Adds what is wrong with it, or with the question, to `wrong`."""
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
