"""The verb Summarize, for encoder-decoder models with their task prefix, and for chat models with an instruction."""

from dataclasses import replace
from functools import partial

from services.engine.generation.requests.resolution import GenerationLimits, ModelDefaults
from services.engine.language.prompting import PromptEncoder
from services.engine.language.translation import Frame, Translations, plain_frame, task_parameters
from services.engine.loading import LoadedModel
from services.generation.ask import Generation
from services.generation.generator import TextGenerator
from services.text.text_to_text.ask import TextsAsk
from services.text.text_to_text.batches import generation_asks
from services.text.text_to_text.reading import ChatReader, EncoderReader, Reader

_TASK = "summarization"
_INSTRUCTION = "Summarize the following text."


class TextSummarizer:
    """Summarizes the texts of a request. Generation starts for all of them or, if one is invalid, for none."""

    def __init__(
        self, generator: TextGenerator, reader: Reader, frame: Frame, defaults: ModelDefaults, batch_items: int
    ) -> None:
        self._generator = generator
        self._reader = reader
        self._frame = frame
        self._defaults = defaults
        self._batch_items = batch_items

    async def start(self, ask: TextsAsk) -> list[Generation]:
        """Submits the texts and returns the stream of each summary. Raises what TextGenerator.start raises."""

        def frame() -> Frame:
            return self._frame if ask.instruction is None else replace(self._frame, prefix=ask.instruction)

        make = partial(generation_asks, ask, self._batch_items, self._reader, self._defaults, frame)
        return await self._generator.start_all(make, ask.options.structured_output)


def make_summarizer(
    loaded: LoadedModel,
    generator: TextGenerator,
    encoder: PromptEncoder,
    limits: GenerationLimits,
    translations: Translations | None,
    batch_items: int,
) -> TextSummarizer | None:
    """Returns the verb for a model, or None if it cannot summarize.

    An encoder-decoder can, unless it is made for translation only. A decoder-only model can if it has a chat template.
    """
    defaults = loaded.defaults
    if loaded.decoder_start_ids:
        own = task_parameters(loaded.model.config).get(_TASK)
        if translations is not None and own is None:
            return None
        frame = replace(plain_frame(loaded.tokenizer), prefix=(own or {}).get("prefix") or "", parameters=own or {})
        return TextSummarizer(generator, EncoderReader(encoder, limits), frame, defaults, batch_items)
    if loaded.tokenizer.chat_template is None:
        return None
    reader = ChatReader(encoder, limits, defaults)
    return TextSummarizer(generator, reader, Frame(prefix=_INSTRUCTION), defaults, batch_items)
