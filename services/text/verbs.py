"""Puts together what a loaded model can do."""

from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.build import BuiltEngine
from services.engine.generation.resolution import GenerationLimits
from services.engine.generation.validation import MAX_LOGPROB_COUNT
from services.engine.loading import LoadedModel
from services.engine.preprocessing import Preprocessing
from services.engine.prompting import PromptEncoder
from services.engine.structure.compiler import StructureCompiler
from services.engine.translation import Translations
from services.text.config import TextSettings
from services.text.generate import TextGenerator
from services.text.reading import EncoderReader
from services.text.response_conversion import logprob_bytes
from services.text.summarize import make_summarizer
from services.text.tokenize import TextTokenizer
from services.text.translate import TextTranslator
from services.text.verb_set import TextVerbs


def text_verbs(
    loaded: LoadedModel,
    built: BuiltEngine,
    translations: Translations | None,
    preprocessing: Preprocessing,
    structures: StructureCompiler,
    settings: TextSettings,
) -> TextVerbs:
    """Returns the verbs of a model; `translations` are what it translates, if it does."""
    batch_items = settings.max_batch_items
    encoder = PromptEncoder(loaded.tokenizer, max(built.context_tokens, built.source_tokens))
    limits = generation_limits(loaded, built, encoder, settings)
    generator = TextGenerator(built.engine, encoder, loaded.defaults, limits, preprocessing, structures)
    translator = None
    if translations is not None:
        reader = EncoderReader(encoder, limits)
        translator = TextTranslator(generator, reader, translations, loaded.defaults, batch_items)
    return TextVerbs(
        TextTokenizer(encoder, loaded.vocabulary_size, batch_items, preprocessing),
        generator,
        make_summarizer(loaded, generator, encoder, limits, translations, batch_items),
        translator,
    )


def generation_limits(
    loaded: LoadedModel, built: BuiltEngine, encoder: PromptEncoder, settings: TextSettings
) -> GenerationLimits:
    """Returns what fits the engine, and a message."""
    return GenerationLimits(
        built.context_tokens,
        loaded.vocabulary_size,
        max_sequences=built.concurrency,
        cache_pages=built.cache_pages,
        page_size=PAGE_SIZE,
        # The rest is for the rendered prompt and the outputs.
        prompt_logprob_bytes=settings.message_bytes * 3 // 4,
        token_logprob_bytes=logprob_bytes(encoder.longest_texts(MAX_LOGPROB_COUNT)),
        source_tokens=built.source_tokens,
        source_vocabulary_size=loaded.source_vocabulary_size,
        shares_pages=not built.serial,
    )
