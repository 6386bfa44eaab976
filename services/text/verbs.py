"""Makes the verbs of a loaded generative model."""

from dataclasses import replace

from services.engine.generation.building.build import BuiltEngine
from services.engine.language.prompting import PromptEncoder
from services.engine.language.responses.formats import ResponseFormat
from services.engine.language.translation import Translations
from services.engine.loading import LoadedModel
from services.generation.answer_parsing import response_format
from services.generation.engine_facts import generation_limits
from services.generation.generation_threads import GenerationThreads
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts
from services.text.config import TextSettings
from services.text.text_to_text.reading import EncoderReader
from services.text.text_to_text.summarize import make_summarizer
from services.text.text_to_text.translate import TextTranslator
from services.text.tokenize import TextTokenizer
from services.text.verb_set import TextVerbs


def text_verbs(
    loaded: LoadedModel,
    built: BuiltEngine,
    translations: Translations | None,
    threads: GenerationThreads,
    settings: TextSettings,
    known: ResponseFormat | None,
) -> TextVerbs:
    """Returns the verbs of a model and of its named adapters.

    `translations` is None if it does not translate, and `known` if the format of its answers is not known.
    """

    def verbs(own: LoadedModel, known: ResponseFormat | None, adapter: str = "") -> TextVerbs:
        return _verbs(own, built, translations, threads, settings, known, adapter)

    named = {} if loaded.adapters is None else loaded.adapters.named
    adapters = {
        name: verbs(
            replace(loaded, tokenizer=adapter.tokenizer or loaded.tokenizer),
            response_format(adapter.tokenizer, settings.response_template) if adapter.tokenizer else known,
            name,
        )
        for name, adapter in named.items()
    }
    return replace(verbs(loaded, known), adapters=adapters)


def _verbs(
    loaded: LoadedModel,
    built: BuiltEngine,
    translations: Translations | None,
    threads: GenerationThreads,
    settings: TextSettings,
    known: ResponseFormat | None,
    adapter: str,
) -> TextVerbs:
    batch_items = settings.max_batch_items
    encoder = PromptEncoder(loaded.tokenizer, max(built.context_tokens, built.source_tokens))
    limits = generation_limits(loaded, built, encoder, settings)
    generator = TextGenerator(GeneratorParts(threads, encoder, loaded.defaults, limits, known), adapter)
    translator = None
    if translations is not None:
        reader = EncoderReader(encoder, limits)
        translator = TextTranslator(generator, reader, translations, loaded.defaults, batch_items)
    return TextVerbs(
        TextTokenizer(encoder, loaded.vocabulary_size, batch_items, threads.preprocessing),
        generator,
        make_summarizer(loaded, generator, encoder, limits, translations, batch_items),
        translator,
    )
