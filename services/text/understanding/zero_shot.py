"""Zero-shot classification: a natural language inference model scores whether a text entails a label's sentence."""

from collections.abc import Sequence

import numpy as np

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Prepared
from services.engine.encoders.heads import ClassificationHead, Entailment, Floats, softmax
from services.engine.encoders.pairs import Part
from services.engine.encoders.reader import TextReader
from services.engine.encoders.tokens import TextTokens
from services.engine.labels.label_scores import LabelScore, ranked
from services.text.understanding.ask import ClassifyAsk
from services.text.understanding.text_list import TextList, collecting

PLACE = "{}"
TEMPLATE = "This example is {}."
_PAIRS = 16
"""A request may have this many (text, label) pairs for each text of the limit on texts."""


class ZeroShot:
    """Runs the model on every pair of a text and a label, all in one request."""

    def __init__(self, reader: TextReader, head: ClassificationHead, entailment: Entailment, texts: TextList) -> None:
        self._reader = reader
        self._head = head
        self._entailment = entailment
        self._texts = texts

    def prepare(self, ask: ClassifyAsk, wrong: list[Violation]) -> Prepared[Sequence[Sequence[LabelScore]]]:
        """Returns the pairs for the model. Raises InvalidArgument with `wrong` and every further violation."""
        template = TEMPLATE if ask.hypothesis_template is None else ask.hypothesis_template
        if PLACE not in template:
            wrong.append(Violation("hypothesis_template", f"must hold {PLACE}, which stands for a label"))
        if ask.raw_scores:
            wrong.append(Violation("raw_scores", "does not go with `labels`"))
        wrong += self._wrong_labels(ask)
        pairs = self._pairs(ask, template, wrong)
        if wrong:
            raise InvalidArgument(wrong)
        items = [Item(tokens, len(tokens), self._head.kind(tokens.ids)) for tokens in pairs]
        return Prepared(items, lambda outputs: self._finish(np.stack(outputs), ask), sum(map(len, pairs)))

    def _wrong_labels(self, ask: ClassifyAsk) -> list[Violation]:
        wrong = [Violation(f"labels[{i}]", "must not be empty") for i, label in enumerate(ask.labels) if not label]
        first = {label: i for i, label in reversed(list(enumerate(ask.labels)))}
        wrong += [
            Violation(f"labels[{i}]", f"is the same as labels[{first[label]}]")
            for i, label in enumerate(ask.labels)
            if label and first[label] != i
        ]
        pairs, most = len(ask.input.texts) * len(ask.labels), _PAIRS * self._texts.most
        if pairs > most:
            wrong.append(Violation("labels", f"make {pairs} pairs with the texts; at most {most} are allowed"))
        return wrong

    def _pairs(self, ask: ClassifyAsk, template: str, wrong: list[Violation]) -> list[TextTokens]:
        """Returns each pair of a text and a label's sentence. If a pair is too long, the text is truncated."""
        truncation = ask.input.truncation
        if any(violation.field == "labels" for violation in wrong):
            return []  # tokenizing too many pairs would be wasted work
        texts = self._texts.parts(ask.input.texts, truncation, wrong, self._reader)
        sentences: list[Part] = []
        for i, label in enumerate(ask.labels):
            with collecting(wrong):
                sentence = template.replace(PLACE, label)
                sentences.append(self._reader.part(sentence, None, field=f"labels[{i}]"))
        pairs: list[TextTokens] = []
        for text in texts:
            for sentence in sentences:
                with collecting(wrong):
                    pairs.append(self._reader.read_pair(text, sentence, truncation, cut=0))
        return pairs

    def _finish(self, logits: Floats, ask: ClassifyAsk) -> list[Sequence[LabelScore]]:
        """Returns the labels of each text, from the logits `[texts * labels, model's labels]`."""
        entailed = logits[:, self._entailment.entailment]
        if ask.multi_label or len(ask.labels) == 1:
            against = np.stack([logits[:, self._entailment.contradiction], entailed], axis=-1)
            scores = softmax(against)[:, 1].reshape(-1, len(ask.labels))
        else:
            scores = softmax(entailed.reshape(-1, len(ask.labels)))
        return [ranked(ask.labels, row.tolist(), ask.top_k) for row in scores]
