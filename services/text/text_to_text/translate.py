"""The verb Translate: puts language tokens around the text and at the start of the output, as the model expects."""

from functools import partial

from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.language.translation import Translations, find_frame
from services.generation.ask import Generation
from services.generation.generator import TextGenerator
from services.text.text_to_text.ask import TextsAsk
from services.text.text_to_text.batches import generation_asks
from services.text.text_to_text.reading import Reader


class TextTranslator:
    """Translates the texts of a request. Generation starts for all of them or, if one is invalid, for none."""

    def __init__(
        self,
        generator: TextGenerator,
        reader: Reader,
        translations: Translations,
        defaults: ModelDefaults,
        batch_items: int,
    ) -> None:
        self._generator = generator
        self._reader = reader
        self._translations = translations
        self._defaults = defaults
        self._batch_items = batch_items

    async def start(self, ask: TextsAsk) -> list[Generation]:
        """Submits the texts and returns the stream of each translation. Raises what TextGenerator.start raises."""
        frame = partial(find_frame, self._translations, ask.source_language, ask.target_language)
        make = partial(generation_asks, ask, self._batch_items, self._reader, self._defaults, frame)
        return await self._generator.start_all(make, ask.options.structured_output)
