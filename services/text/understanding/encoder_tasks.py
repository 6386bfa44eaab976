"""The tasks of text encoders: for each, the Auto class that loads it, its pipeline and its verbs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from sensorium.v1 import models_pb2 as pb
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import ModelRefused
from services.engine.encoders.chosen_rows import ChosenRows
from services.engine.encoders.company import Company
from services.engine.encoders.heads import classification_head
from services.engine.encoders.loading import LoadedEncoder
from services.engine.encoders.outputs import read_logits
from services.engine.encoders.pooled_tokens import PooledTokens
from services.engine.encoders.reader import TextReader
from services.engine.encoders.runner import Focus, Read, TextRunner
from services.engine.encoders.sentences import SentenceRecipe
from services.engine.encoders.trial import try_reading
from services.engine.language.prompting import PromptEncoder
from services.engine.metrics import EngineMetrics
from services.text.config import TextSettings
from services.text.extraction.answer_question import QuestionAnswerer, read_span_logits
from services.text.extraction.classify_tokens import TokenClassifier, read_token_logits
from services.text.extraction.fill_mask import CandidateReader, MaskFiller
from services.text.extraction.mask_targets import MaskTargets
from services.text.extraction.masked_places import MaskReader
from services.text.extraction.token_spans import SpanMaker
from services.text.task import TextTask
from services.text.tokenize import TextTokenizer
from services.text.understanding.classify import TextClassifier
from services.text.understanding.embed import TextEmbedder, focus_on_pooled, read_vectors
from services.text.understanding.rerank import TextReranker
from services.text.understanding.text_list import TextList
from services.text.verb_set import TextVerbs

_SCORES_BYTES = 512 << 20


@dataclass(frozen=True)
class Served:
    """A model's pipeline, its verbs, and its tasks as named in the contract."""

    pipeline: Pipeline
    verbs: TextVerbs
    tasks: Sequence[pb.Task.ValueType]


@dataclass(frozen=True)
class Workbench:
    """The parts that the verbs of every task are made of."""

    loaded: LoadedEncoder
    reader: TextReader
    settings: TextSettings
    metrics: EngineMetrics
    company: Company
    """Which texts may share a batch."""

    def pipeline(self, read: Read, focus: Focus | None = None, most_tokens: int | None = None) -> Pipeline:
        """Returns the model's pipeline; `read` takes each item's results from the model's output. Call it once.

        A batch holds at most `most_tokens`, and never more than `max_batch_tokens` of the settings.
        """
        settings, loaded = self.settings, self.loaded
        runner = TextRunner(loaded.model, loaded.device, loaded.pad_id, read, focus, company=self.company)
        admission = BatchAdmission(QueueLimits(settings.max_queued_requests, settings.max_queued_tokens))
        limits = BatchLimits(length=min(settings.max_batch_tokens, most_tokens or settings.max_batch_tokens))
        wait = settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))

    def served(self, pipeline: Pipeline, tasks: Sequence[pb.Task.ValueType], **verbs: Any) -> Served:
        """Returns these verbs and Tokenize, which every model supports."""
        loaded = self.loaded
        encoder = PromptEncoder(loaded.tokenizer, loaded.context_tokens)
        items = self.settings.max_batch_items
        tokenizer = TextTokenizer(encoder, loaded.vocabulary_size, items, pipeline.preprocessing)
        return Served(pipeline, TextVerbs(tokenizer=tokenizer, **verbs), tasks)

    @property
    def texts(self) -> TextList:
        """What reads the field `texts` of a request."""
        return TextList(self.settings.max_batch_items)

    def require_offsets(self) -> None:
        """Raises ModelRefused if the tokenizer gives no offsets of tokens in their text."""
        if not self.reader.is_fast:
            raise ModelRefused(
                f"{type(self.loaded.tokenizer).__name__} does not tell where tokens lie in a text, which spans need. "
                "Put a tokenizer.json beside the weights: save_pretrained of the model's fast tokenizer writes it."
            )


def serve(task: TextTask, bench: Workbench, recipe: SentenceRecipe) -> Served:
    """Makes the pipeline and verbs of a task. Raises ModelRefused if the model lacks something that the task needs."""
    return _embedding(bench, recipe) if task is TextTask.EMBED else _MAKERS[task](bench)


def _embedding(bench: Workbench, recipe: SentenceRecipe) -> Served:
    settings, loaded = bench.settings, bench.loaded
    focus = partial(focus_on_pooled, PooledTokens(loaded))
    pipeline = bench.pipeline(partial(read_vectors, recipe), focus)
    width = recipe.width or int(loaded.model.config.get_text_config().hidden_size)
    embedder = TextEmbedder(pipeline, bench.reader, recipe, bench.texts, width, settings.message_bytes)
    return bench.served(pipeline, [pb.TASK_EMBED_TEXT], embedder=embedder)


def _classification(bench: Workbench) -> Served:
    pipeline, head = bench.pipeline(read_logits), classification_head(bench.loaded)
    classifier = TextClassifier(pipeline, bench.reader, head, bench.texts)
    tasks, reranker = [pb.TASK_CLASSIFY_TEXT], None
    if classifier.takes_labels:
        tasks.append(pb.TASK_ZERO_SHOT_CLASSIFY_TEXT)
    if head.ranks:
        tasks.append(pb.TASK_RERANK)
        reranker = TextReranker(pipeline, bench.reader, head, bench.settings.max_batch_items)
    if classifier.takes_labels or head.ranks:
        try_reading(bench.loaded, bench.reader, pair=True)
    return bench.served(pipeline, tasks, classifier=classifier, reranker=reranker)


def _token_classification(bench: Workbench) -> Served:
    bench.require_offsets()
    pipeline, loaded = bench.pipeline(read_token_logits), bench.loaded
    spans = SpanMaker(loaded.tokenizer, loaded.labels)
    verb = TokenClassifier(pipeline, bench.reader, spans, bench.texts, bench.settings.max_queued_tokens)
    return bench.served(pipeline, [pb.TASK_CLASSIFY_TOKENS], token_classifier=verb)


def _question_answering(bench: Workbench) -> Served:
    bench.require_offsets()
    pipeline = bench.pipeline(read_span_logits)
    verb = QuestionAnswerer(pipeline, bench.reader, bench.settings.max_queued_tokens)
    return bench.served(pipeline, [pb.TASK_ANSWER_QUESTION], question_answerer=verb)


def _mask_filling(bench: Workbench) -> Served:
    loaded, settings = bench.loaded, bench.settings
    if getattr(loaded.tokenizer, "mask_token_id", None) is None:
        raise ModelRefused(
            f"{type(loaded.tokenizer).__name__} has no mask token. Set `mask_token` in tokenizer_config.json to that "
            "which the model was trained with, or serve something else of it with --task."
        )
    rows = ChosenRows(loaded)
    # A head that computes `[tokens, vocabulary]` logits for every token could otherwise use up the memory.
    most_tokens = None if rows.spares else max(_SCORES_BYTES // (4 * loaded.vocabulary_size), 1)
    reader = CandidateReader(rows)
    pipeline = bench.pipeline(reader.read, reader.focus, most_tokens)
    masks = MaskReader(loaded.tokenizer, bench.reader)
    targets = MaskTargets(loaded.tokenizer, loaded.vocabulary_size)
    verb = MaskFiller(pipeline, masks, targets, bench.texts, settings.message_bytes)
    return bench.served(pipeline, [pb.TASK_FILL_MASK], mask_filler=verb)


AUTO_CLASSES: dict[TextTask, Any] = {
    TextTask.EMBED: AutoModel,
    TextTask.CLASSIFY: AutoModelForSequenceClassification,
    TextTask.CLASSIFY_TOKENS: AutoModelForTokenClassification,
    TextTask.ANSWER_QUESTION: AutoModelForQuestionAnswering,
    TextTask.FILL_MASK: AutoModelForMaskedLM,
}
"""The Auto class that loads the model of each task."""
_MAKERS: dict[TextTask, Callable[[Workbench], Served]] = {
    TextTask.CLASSIFY: _classification,
    TextTask.CLASSIFY_TOKENS: _token_classification,
    TextTask.ANSWER_QUESTION: _question_answering,
    TextTask.FILL_MASK: _mask_filling,
}
