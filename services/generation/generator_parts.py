"""The parts of which the generators of all services are made."""

from dataclasses import dataclass

from services.engine.generation.building.build import BuiltEngine
from services.engine.generation.requests.resolution import GenerationLimits, ModelDefaults
from services.engine.language.prompting import PromptEncoder
from services.engine.language.responses.formats import ResponseFormat
from services.engine.loading import LoadedModel
from services.generation.engine_facts import generation_limits
from services.generation.generation_threads import GenerationThreads
from services.generation.settings import GenerationSettings


@dataclass(frozen=True)
class GeneratorParts:
    """What prepares requests to a generation engine and submits them."""

    threads: GenerationThreads
    encoder: PromptEncoder
    defaults: ModelDefaults
    limits: GenerationLimits
    format: ResponseFormat | None = None
    """The format of the model's answers in conversations, if it is known."""

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        built: BuiltEngine,
        settings: GenerationSettings,
        format_: ResponseFormat | None = None,
    ) -> "GeneratorParts":
        """Returns the parts for an engine, whose threads they start."""
        threads = GenerationThreads(built.engine, loaded.tokenizer)
        encoder = PromptEncoder(loaded.tokenizer, built.context_tokens)
        return cls(threads, encoder, loaded.defaults, generation_limits(loaded, built, encoder, settings), format_)
