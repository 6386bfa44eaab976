"""All threads of a model that generates."""

from transformers import PreTrainedTokenizerBase

from services.engine.generation.engine import GenerationEngine
from services.engine.structure.compiler import StructureCompiler
from services.engine.threads.engine_threads import EngineThreads


class GenerationThreads(EngineThreads[GenerationEngine]):
    """A generation engine, the threads that prepare its requests, and the one that compiles output structures."""

    def __init__(self, engine: GenerationEngine, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(engine)
        self.structures = StructureCompiler(tokenizer, engine.admission)

    def close(self) -> None:
        """See EngineThreads."""
        super().close()
        self.structures.close()
