"""Example calls of the text models."""

from collections.abc import Iterator
from pathlib import Path

from local.exhibits.exhibit import Exhibit, Items, Shown, short, some
from sensorium import Client
from sensorium.v1.text_pb2 import (
    TRUNCATION_END,
    AnswerQuestionRequest,
    ClassifyRequest,
    ClassifyTokensRequest,
    EmbedRequest,
    FillMaskRequest,
    RerankRequest,
)


def _documents(items: Items) -> tuple[dict[str, str], Items]:
    """Splits items into documents by name and questions."""
    documents = {item[1]: item[2] for item in items if item[0] == "document"}
    return documents, [item for item in items if item[0] != "document"]


def _embed(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    documents, questions = _documents(items)

    def vectors(texts: list[str], prompt: str) -> list[list[float]]:
        request = EmbedRequest(model=folder.name, texts=texts, prompt_name=prompt)
        return [list(each.values) for each in client.text.embed(request).embeddings]

    known = vectors(list(documents.values()), "document")
    for _, question, wanted in some(questions):
        (asked,) = vectors([question], "query")
        near = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in known]
        best = list(documents)[near.index(max(near))]
        yield Shown(question, f"nearest of {len(documents)} documents: {best} ({max(near):.2f})", best == wanted)


def _rerank(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    documents, questions = _documents(items)
    for _, query, names in some(questions):
        texts = [documents[name] for name in names]
        answer = client.text.rerank(
            RerankRequest(model=folder.name, query=query, documents=texts, truncation=TRUNCATION_END)
        )
        best = answer.results[0]
        found = f"first of {len(names)} documents: {names[best.index]} ({best.score:.2f})"
        yield Shown(query, found, best.index == 0)


def _classify(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for _, text, wanted in some([item for item in items if item[0] != "word never seen"]):
        (result,) = client.text.classify(ClassifyRequest(model=folder.name, texts=[text])).results
        best = result.labels[0]
        yield Shown(text, f"{best.label} ({best.score:.2f})", best.label == wanted)


def _zero_shot(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    asked = [item for item in items if item[0] != "statements" and len(item[2]) == 1]
    topics = list(dict.fromkeys(item[2][0] for item in asked))
    for _, text, wanted in some(asked):
        (result,) = client.text.classify(ClassifyRequest(model=folder.name, texts=[text], labels=topics)).results
        best = result.labels[0]
        yield Shown(text, f"{best.label} ({best.score:.2f}) among {len(topics)} labels", [best.label] == wanted)


def _tag(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for _, text, wanted in some(items):
        (result,) = client.text.classify_tokens(ClassifyTokensRequest(model=folder.name, texts=[text])).results
        found = [[span.start, span.end, span.label] for span in result.spans]
        answer = ", ".join(f"{span.text} = {span.label}" for span in result.spans)
        yield Shown(text, answer, found == [list(span) for span in wanted])


def _answer(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for _, question, context, wanted in some(items):
        request = AnswerQuestionRequest(model=folder.name, question=question, context=context, allow_no_answer=True)
        found = client.text.answer_question(request)
        text = found.answers[0].text if found.answers else ""
        answer = f"{text} ({found.answers[0].score:.2f})" if text else f"no answer ({found.no_answer_score:.2f})"
        yield Shown(f"{question} — {short(context)}", answer, text.lower() == wanted.lower())


def _fill(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for _, text, wanted in some([item for item in items if item[0] != "a word of an unseen question"]):
        (result,) = client.text.fill_mask(FillMaskRequest(model=folder.name, texts=[text])).results
        candidates = result.places[0].candidates
        words = ", ".join(f"{each.text} ({each.score:.2f})" for each in candidates[:3])
        yield Shown(text, words, candidates[0].text == wanted)


TEXTS = {
    "embedding": Exhibit("Embed", _embed),
    "reranker": Exhibit("Rerank", _rerank),
    "sentiment": Exhibit("Classify", _classify),
    "entailment": Exhibit("Classify, labels in the request", _zero_shot),
    "entities": Exhibit("ClassifyTokens", _tag),
    "extractive-qa": Exhibit("AnswerQuestion", _answer),
    "fill-mask": Exhibit("FillMask", _fill),
}
"""By model name."""
