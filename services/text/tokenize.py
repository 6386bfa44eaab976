"""The verbs Tokenize and Detokenize."""

from sensorium.errors import InvalidArgument, Violation
from services.engine.language.prompting import EncodedToken, PromptEncoder
from services.engine.preprocessing import Preprocessing


class TextTokenizer:
    """Encodes and decodes batches; a batch is done whole or not at all."""

    def __init__(
        self, encoder: PromptEncoder, vocabulary_size: int, batch_items: int, preprocessing: Preprocessing
    ) -> None:
        self._encoder = encoder
        self._vocabulary_size = vocabulary_size
        self._batch_items = batch_items
        self._preprocessing = preprocessing

    async def tokenize(self, texts: list[str], *, add_special_tokens: bool) -> list[list[EncodedToken]]:
        """Returns the tokens of each text.

        Raises:
            InvalidArgument: there are no texts or too many, or some are too long.
        """
        self._require_batch("texts", len(texts))
        return await self._preprocessing.run(self._tokenize, texts, add_special_tokens)

    async def detokenize(self, sequences: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        """Returns the text of each sequence of ids.

        Raises:
            InvalidArgument: there are no sequences or too many, or some ids are not in the vocabulary.
        """
        self._require_batch("sequences", len(sequences))
        return await self._preprocessing.run(self._detokenize, sequences, skip_special_tokens)

    def _tokenize(self, texts: list[str], add_special_tokens: bool) -> list[list[EncodedToken]]:
        results: list[list[EncodedToken]] = []
        wrong: list[Violation] = []
        for i, text in enumerate(texts):
            try:
                results.append(
                    self._encoder.encode_tokens(text, field=f"texts[{i}]", add_special_tokens=add_special_tokens)
                )
            except InvalidArgument as error:
                wrong += error.violations
        if wrong:
            raise InvalidArgument(wrong)
        return results

    def _detokenize(self, sequences: list[list[int]], skip_special_tokens: bool) -> list[str]:
        wrong = [
            Violation(f"sequences[{i}].ids[{j}]", f"must be in [0, {self._vocabulary_size}), not {token_id}")
            for i, ids in enumerate(sequences)
            for j, token_id in enumerate(ids)
            if not 0 <= token_id < self._vocabulary_size
        ]
        if wrong:
            raise InvalidArgument(wrong)
        return [self._encoder.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    def _require_batch(self, field: str, count: int) -> None:
        if not 1 <= count <= self._batch_items:
            raise InvalidArgument([Violation(field, f"must hold 1 to {self._batch_items} items, not {count}")])
