"""Measures the small text models by hand: every figure of a card, worked out anew from the held-out items."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import torch
from torch.nn.functional import normalize


def encode(tokenizer, *texts, **options):
    return tokenizer(*texts, padding=True, truncation=True, return_tensors="pt", **options)


def mean(marks):
    """Mean and count of marks by part and measure."""
    found = defaultdict(list)
    for part, measure, mark in marks:
        found[part, measure].append(float(mark))
    return {key: (sum(values) / len(values), len(values)) for key, values in found.items()}


def embedding(network, tokenizer, items, folder):
    """Nearest document of every question; whole vectors, the first 32 dimensions, and without prompts."""
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    documents = [item[1:] for item in items if item[0] == "document"]
    questions = [item for item in items if item[0] != "document"]

    def vectors(texts, width):
        inputs = encode(tokenizer, texts)
        hidden = network(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None].to(hidden.dtype)
        return normalize(((hidden * mask).sum(1) / mask.sum(1))[:, :width], dim=-1)

    marks = []
    for measure, width, query, document in (
        ("recall@1", 128, prompts["query"], prompts["document"]),
        ("recall@1, 32 dimensions", 32, prompts["query"], prompts["document"]),
        ("recall@1, no prompts", 128, "", ""),
    ):
        near = vectors([query + text for _, text, _ in questions], width)
        near = near @ vectors([document + text for _, text in documents], width).T
        for (part, _, wanted), at in zip(questions, near.argmax(1).tolist(), strict=True):
            marks.append((part, measure, documents[at][0] == wanted))
    return mean(marks)


def reranker(network, tokenizer, items, folder):
    """Place of the right document among ten."""
    texts = {item[1]: item[2] for item in items if item[0] == "document"}
    marks = []
    for part, query, names in items:
        if part == "document":
            continue
        scores = network(**encode(tokenizer, [query] * len(names), [texts[name] for name in names])).logits[:, 0]
        place = 1 + sum(score >= scores[0] for score in scores[1:])
        marks += [(part, "accuracy@1 of ten", place == 1), (part, "mean reciprocal rank", 1 / place)]
    return mean(marks)


def sentiment(network, tokenizer, items, folder):
    """Likeliest label of every text."""
    labels = network(**encode(tokenizer, [item[1] for item in items])).logits.argmax(1).tolist()
    names = network.config.id2label
    return mean((part, "accuracy", names[at] == label) for (part, _, label), at in zip(items, labels, strict=True))


def entailment(network, tokenizer, items, folder):
    """Zero-shot labels by hypothesis, one and several; pairs of statements."""
    ids = network.config.label2id
    topics = list(dict.fromkeys(item[2][0] for item in items if item[0] == "written freely"))
    marks = []
    for part, text, *rest in items:
        if part == "statements":
            given = network(**encode(tokenizer, [text], [rest[0]])).logits.argmax().item()
            marks.append((part, "accuracy of three", given == ids[rest[1]]))
            continue
        hypotheses = [f"This example is {topic}." for topic in topics]
        scores = network(**encode(tokenizer, [text] * len(topics), hypotheses)).logits
        if len(rest[0]) == 1:
            best = topics[scores[:, ids["entailment"]].argmax()]
            marks.append((part, "zero-shot, right label", best == rest[0][0]))
        true = scores[:, ids["entailment"]] > scores[:, ids["contradiction"]]
        given = {topic for topic, holds in zip(topics, true, strict=True) if holds}
        marks.append((part, "zero-shot, all labels right", given == set(rest[0])))
    return mean(marks)


def entities(network, tokenizer, items, folder):
    """F1 of spans."""
    counts = defaultdict(lambda: [0, 0, 0])
    for part, text, wanted in items:
        inputs = encode(tokenizer, [text], return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        spans, open_kind = [], None
        for at, (start, end) in zip(network(**inputs).logits[0].argmax(1).tolist(), offsets, strict=True):
            if start == end:
                continue
            label = network.config.id2label[at]
            kind = None if label == "O" else label[2:]
            if kind and label[0] == "I" and kind == open_kind:
                spans[-1][1] = end
            elif kind:
                spans.append([start, end, kind])
            open_kind = kind
        measures = {kind: f"span F1 of {kind}" for kind in ("PER", "LOC", "ORG", "DATE")}
        for kind, measure in {None: "span F1", **(measures if part.startswith("new") else {})}.items():
            given, right = ([span for span in found if kind in (None, span[2])] for found in (spans, wanted))
            count = counts[part, measure]
            for at, more in enumerate((sum(span in right for span in given), len(given), len(right))):
                count[at] += more
    return {key: (2 * both / (given + right), right) for key, (both, given, right) in counts.items()}


def extractive_qa(network, tokenizer, items, folder):
    """Best piece of up to fifteen tokens, against the first token's score for no answer."""
    marks = []
    for part, question, passage, wanted in items:
        inputs = encode(tokenizer, [question], [passage], return_offsets_mapping=True)
        offsets, parts = inputs.pop("offset_mapping")[0].tolist(), inputs.sequence_ids(0)
        output = network(**inputs)
        start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        inside = [at for at, place in enumerate(parts) if place == 1]
        best, first, last = max((start[i] + end[j], i, j) for i in inside for j in inside if i <= j < i + 15)
        given = passage[offsets[first][0] : offsets[last][1]] if best >= start[0] + end[0] else ""
        marks.append((part, "exact match", given.lower() == wanted.lower()))
        if wanted:
            one, other = Counter(given.lower().split()), Counter(wanted.lower().split())
            marks.append((part, "F1 of words", 2 * (one & other).total() / (one.total() + other.total())))
    return mean(marks)


def fill_mask(network, tokenizer, items, folder):
    """The five likeliest tokens for the mask."""
    marks = []
    for part, text, word in items:
        inputs = encode(tokenizer, [text])
        place = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        best = [tokenizer.decode([at]) for at in network(**inputs).logits[0, place].topk(5).indices.tolist()]
        marks += [(part, "accuracy@1", best[0] == word), (part, "accuracy@5", word in best)]
    return mean(marks)


def measured(name, network, tokenizer, items, folder):
    """Value and count of every figure, by part and measure."""
    with torch.inference_mode():
        return globals()[name.replace("-", "_")](network, tokenizer, items, folder)
