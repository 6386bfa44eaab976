"""Puts together what a loaded model can do."""

from services.engine.generation.build import BuiltEngine
from services.engine.generation.resolution import GenerationLimits
from services.engine.loading import LoadedModel
from services.engine.preprocessing import Preprocessing
from services.engine.prompting import PromptEncoder
from services.engine.translation import Translations
from services.text.generate import TextGenerator
from services.text.reading import EncoderReader
from services.text.servicer import TextVerbs
from services.text.summarize import make_summarizer
from services.text.tokenize import TextTokenizer
from services.text.translate import TextTranslator


def text_verbs(
    loaded: LoadedModel,
    built: BuiltEngine,
    translations: Translations | None,
    preprocessing: Preprocessing,
    batch_items: int,
) -> TextVerbs:
    """Returns the verbs of a model; `translations` are what it translates, if it does."""
    encoder = PromptEncoder(loaded.tokenizer, max(built.context_tokens, built.source_tokens))
    limits = GenerationLimits(
        built.context_tokens, loaded.vocabulary_size, built.source_tokens, loaded.source_vocabulary_size
    )
    generator = TextGenerator(built.engine, encoder, loaded.defaults, limits, preprocessing)
    translator = None
    if translations is not None:
        reader = EncoderReader(encoder, limits)
        translator = TextTranslator(generator, reader, translations, loaded.defaults, batch_items)
    return TextVerbs(
        generator,
        TextTokenizer(encoder, loaded.vocabulary_size, batch_items, preprocessing),
        make_summarizer(loaded, generator, encoder, limits, translations, batch_items),
        translator,
    )
