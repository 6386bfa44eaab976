"""FillMask through gateway and client, against transformers' pipeline in float32.

The pipeline's `sequence` is decoded from tokens: in lower case and without accents where they are, with spaces the text
did not have. Filled texts keep the text as it was sent, so both are compared without any of these.
"""

import asyncio
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.e2e.understanding import TOLERANCE, own_model, random_texts, transformers_pipeline, violations
from tests.tiny.encoders import CONTEXT, TEXTS, write_encoder


def masked_texts(mask: str, count: int, *, masks: int = 1) -> list[str]:
    """Returns texts with so many masked words."""
    chance = random.Random(masks)
    texts: list[str] = []
    for _ in range(count):
        words = chance.choice(TEXTS).split()
        for place in chance.sample(range(len(words)), masks):
            words[place] = mask
        texts.append(" ".join(words))
    return texts


def spaceless(text: str) -> str:
    return "".join(
        c for c in unicodedata.normalize("NFD", text).casefold() if not (c.isspace() or unicodedata.combining(c))
    )


def equal(places: Any, expected: list[list[dict[str, Any]]]) -> None:
    for place, wanted in zip(places, expected, strict=True):
        scores = [one.score for one in place.candidates]
        np.testing.assert_allclose(scores, [one["score"] for one in wanted], atol=TOLERANCE)
        known = {one["token"]: one for one in wanted}
        for candidate, theirs in zip(place.candidates, wanted, strict=True):
            same = known.get(candidate.token_id)
            if same is None:  # of nearly equal scores either may be the last
                assert theirs["score"] - wanted[-1]["score"] <= TOLERANCE
            else:  # or come first
                assert abs(same["score"] - theirs["score"]) <= TOLERANCE
                assert candidate.text == same["token_str"]


@pytest.mark.parametrize("name", drawn(["bert", "roberta", "electra", "modernbert", "distilbert", "albert"], 3))
async def test_candidates_are_the_pipelines(tmp_path: Path, name: str) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModelForMaskedLM)
    mask = AutoTokenizer.from_pretrained(folder).mask_token
    one, three = masked_texts(mask, 20), masked_texts(mask, 10, masks=3)
    reference = transformers_pipeline("fill-mask", folder)
    async with running_stack(folder) as stack:
        fill = stack.client.text.fill_mask
        requests = [
            pb.FillMaskRequest(texts=one),
            pb.FillMaskRequest(texts=three, top_k=9),
            pb.FillMaskRequest(texts=[text.replace(mask, "___") for text in three], mask="___", top_k=9),
            *(pb.FillMaskRequest(texts=[text], top_k=2) for text in one[:5]),
        ]
        single, several, marked, *alone = await asyncio.gather(*map(fill, requests))
        special = set(AutoTokenizer.from_pretrained(folder).all_special_tokens)
        for result, wanted in zip(single.results, reference(one), strict=True):
            equal(result.places, [wanted])
            sequences = {one["token"]: one["sequence"] for one in wanted}
            for candidate in result.places[0].candidates:
                if candidate.token_id in sequences and candidate.text not in special:  # the pipeline leaves those out
                    theirs = sequences[candidate.token_id].removeprefix("##")
                    assert spaceless(candidate.filled_text) == spaceless(theirs)
        for result, same, text, wanted in zip(
            marked.results, several.results, three, reference(three, top_k=9), strict=True
        ):
            equal(same.places, wanted)
            equal(result.places, wanted)
            filled, fills = result.places[1].candidates[0], same.places[1].candidates
            assert filled.filled_text.count("___") == 2
            assert filled.filled_text.replace("___", mask) == next(
                one.filled_text for one in fills if one.token_id == filled.token_id
            )
            assert filled.filled_text.startswith(text.split(mask)[0].rstrip())
        for found, wanted in zip(alone, reference(one[:5], top_k=2), strict=True):
            equal(found.results[0].places, [wanted])
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_FILL_MASK, models.TASK_TOKENIZE]
        assert not info.labels


@pytest.mark.parametrize(
    ("name", "targets"),
    [("bert", ["dog", "fox", "a", "##g", "the", "lazy", "l"]), ("roberta", ["the", " the", "Ġand", "a", " a", "laz"])],
)
async def test_only_targets_are_scored(tmp_path: Path, name: str, targets: list[str]) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModelForMaskedLM)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    known = [target for target in targets if len(tokenizer(target, add_special_tokens=False).input_ids) == 1]
    known += [target for target in targets if target in tokenizer.get_vocab() and target not in known]
    assert len(known) > 3
    reference, text = transformers_pipeline("fill-mask", folder), f"the lazy {tokenizer.mask_token} jumps"
    async with running_stack(folder) as stack:
        fill = stack.client.text.fill_mask
        answer = await fill(pb.FillMaskRequest(texts=[text], targets=[*known, known[0]]))
        equal(answer.results[0].places, [reference(text, targets=known, top_k=100)])
        answer = await fill(pb.FillMaskRequest(texts=[text], targets=known, top_k=2))
        equal(answer.results[0].places, [reference(text, targets=known, top_k=2)])
        request = pb.FillMaskRequest(texts=[text], targets=[known[0], "no such word", ""])
        assert list(await violations(fill, request)) == ["targets[1]", "targets[2]"]
        if name == "bert":
            assert list(await violations(fill, pb.FillMaskRequest(texts=[text], targets=["犬"]))) == ["targets[0]"]


@pytest.mark.parametrize(
    ("name", "text", "candidate", "filled"),
    [
        ("bert", "The [MASK] dog", "quick", "The quick dog"),
        ("bert", "The do [MASK], (so)", "##g", "The dog, (so)"),
        ("bert", "([MASK])", "the", "(the)"),
        ("roberta", "The <mask> dog", "Ġand", "The and dog"),
        ("roberta", "The do <mask>, (so)", "g", "The dog, (so)"),
        ("roberta", "<mask> dog", "Ġand", "and dog"),
        ("roberta", "The\n<mask> dog", "Ġand", "The\nand dog"),
    ],
)
async def test_the_text_is_filled_as_it_was_sent(
    tmp_path: Path, name: str, text: str, candidate: str, filled: str
) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModelForMaskedLM)
    async with running_stack(folder) as stack:
        answer = await stack.client.text.fill_mask(pb.FillMaskRequest(texts=[text], targets=[candidate]))
        assert [one.filled_text for one in answer.results[0].places[0].candidates] == [filled]


async def refused(fill: Any, **request: Any) -> list[str]:
    return list(await violations(fill, pb.FillMaskRequest(**request)))


async def test_texts_of_every_kind_are_filled_or_refused_and_harm_nobody(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModelForMaskedLM)
    model, tokenizer = own_model(folder, AutoModelForMaskedLM), AutoTokenizer.from_pretrained(folder)
    huge = "[MASK] " + "the lazy dog over " * 5000
    odd = [" [MASK] ", "[SEP][MASK][CLS]", "\u0000[MASK]🙂", "[MASK]" * 60]
    async with running_stack(folder, message_bytes=300_000) as stack:
        fill = stack.client.text.fill_mask
        neighbour, cut, strange, *found = await asyncio.gather(
            fill(pb.FillMaskRequest(texts=["the [MASK] dog"] * 256, top_k=1)),
            fill(pb.FillMaskRequest(texts=[huge[:200_000]], truncation=pb.TRUNCATION_END, top_k=1)),
            fill(pb.FillMaskRequest(texts=odd)),
            refused(fill, texts=["", "no place", "a [MASK]", "dog [MASK] " * 90], top_k=0),
            refused(fill, texts=["dog " * 90 + "[MASK]", "[MASK]" + huge[6:]], truncation=pb.TRUNCATION_END, top_k=1),
            refused(fill, texts=["a [MASK]"], mask=""),
            refused(fill, texts=["a [MASK]"], mask="___"),
            refused(fill, texts=["[MASK] " * 50], top_k=100),
            refused(fill),
            refused(fill, texts=["[MASK]"] * 300),
        )
        assert found == [
            ["top_k", "texts[0]", "texts[1]", "texts[3]"],
            ["texts[0]"],
            ["mask"],
            ["texts[0]"],
            ["top_k"],
            ["texts"],
            ["texts"],
        ]
        chances = model("the [MASK] dog").logits[0, 2].softmax(-1)
        for result in neighbour.results:
            assert result.places[0].candidates[0].score == pytest.approx(chances.max().item(), abs=TOLERANCE)
        ids = tokenizer(huge, truncation=True, max_length=CONTEXT, return_tensors="pt").input_ids
        assert cut.results[0].places[0].candidates[0].token_id == own_logits(model, tokenizer, ids)[1].argmax()
        reference = transformers_pipeline("fill-mask", folder)
        for text, result in zip(odd, strange.results, strict=True):
            theirs = reference(text)
            equal(result.places, theirs if isinstance(theirs[0], list) else [theirs])


def own_logits(model: Any, tokenizer: Any, ids: Any) -> Any:
    text = tokenizer.decode(ids[0, 1:-1])
    return model(text).logits[0]


async def test_masks_of_the_model_beside_marks_of_the_request_are_no_places(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModelForMaskedLM)
    reference = transformers_pipeline("fill-mask", folder)
    async with running_stack(folder) as stack:
        request = pb.FillMaskRequest(texts=["the [MASK] dog <> over [MASK] fox"], mask="<>", top_k=3)
        (result,) = (await stack.client.text.fill_mask(request)).results
        equal(result.places, reference("the [MASK] dog [MASK] over [MASK] fox", top_k=3)[1:2])
        assert result.places[0].candidates[0].filled_text.count("[MASK]") == 2


def test_random_texts_are_told_apart_without_spaces() -> None:
    assert len({spaceless(text) for text in random_texts(50)}) == 50
