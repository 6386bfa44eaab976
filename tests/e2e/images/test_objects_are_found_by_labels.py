"""DetectObjects by labels in the request, through gateway and client, against transformers in float32."""

import asyncio
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import models_pb2 as models
from tests.e2e.images.test_objects_are_detected import SCORE_TOLERANCE, Found, cut, detect, objects_of, same
from tests.e2e.stack import vision_stack
from tests.own_models import own
from tests.services.engine.media.pictures import landscape, noise
from tests.tiny.open_detectors import LABEL_TOKENS, write_open_detector

PICTURES = [noise(90, 50), landscape(64, 64), noise(45, 80, seed=1), landscape(200, 50)]
LABELS = ["a lazy dog", "Fox", "program", "the model reads"]


def by_pipeline(folder: Path, image: Image.Image, labels: list[str], threshold: float = 0.1) -> list[Found]:
    """Returns objects with boxes in whole numbers, not cut to the image."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    reference = pipeline(
        "zero-shot-object-detection", model=str(folder), image_processor=processor, dtype=torch.float32
    )
    found = reference(image, candidate_labels=labels, threshold=threshold)
    return [(each["score"], each["label"], tuple(map(float, each["box"].values()))) for each in found]


def by_hand(folder: Path, image: Image.Image, labels: list[str], threshold: float = 0.1) -> list[Found]:
    """Returns objects of each label by itself, by the model and its processor, cut to the image."""
    processor = AutoProcessor.from_pretrained(folder)
    model = own(AutoModelForZeroShotObjectDetection, folder)
    whole: list[Found] = []
    for label in labels:
        with torch.inference_mode():
            output = model(**processor(text=[[label]], images=image, return_tensors="pt"))
        (found,) = processor.post_process_grounded_object_detection(output, threshold, [image.size[::-1]], [[label]])
        boxes = [tuple(box) for box in found["boxes"].tolist()]
        whole += zip(found["scores"].tolist(), found["text_labels"], boxes, strict=True)
    return [each for each in (cut(found, image) for found in whole) if each is not None]


@pytest.mark.parametrize("name", ["owlvit", "owlv2"])
async def test_labels_that_are_read_one_by_one(tmp_path: Path, name: str) -> None:
    folder = write_open_detector(tmp_path / name, name)
    others = ["quick", *LABELS[2:]]
    expected = [by_hand(folder, image, LABELS) for image in PICTURES]
    assert sum(map(len, expected)) > 20
    assert {label for found in expected for _, label, _ in found} == set(LABELS)
    async with vision_stack(folder) as stack:
        # Requests with other labels share the batch, and some labels are known by then.
        together, other, *alone = await asyncio.gather(
            detect(stack, *PICTURES, labels=LABELS),
            detect(stack, PICTURES[0], labels=others),
            *(detect(stack, image, labels=LABELS) for image in PICTURES),
        )
        for image, wanted, found, single in zip(PICTURES, expected, together.results, alone, strict=True):
            same(objects_of(found), wanted, image)
            same(objects_of(single.results[0]), wanted, image)
            assert all(LABELS[each.label.index] == each.label.label for each in found.objects)
        same(objects_of(other.results[0]), by_hand(folder, PICTURES[0], others), PICTURES[0])
        whole = by_pipeline(folder, PICTURES[0], LABELS)
        assert len(whole) >= len(together.results[0].objects)
        for score, label, box in filter(None, (cut(each, PICTURES[0]) for each in whole)):
            assert any(
                label == other
                and abs(score - near) < SCORE_TOLERANCE
                and all(abs(a - b) <= 1 for a, b in zip(box, sides, strict=True))
                for near, other, sides in objects_of(together.results[0])
            )
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ZERO_SHOT_DETECT_OBJECTS]
        assert not info.labels
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert alone[0].usage.input_token_count == sum(len(tokenizer(label)["input_ids"]) for label in LABELS)


@pytest.mark.parametrize("name", ["grounding_dino", "mm_grounding_dino"])
async def test_labels_that_are_read_as_one_text(tmp_path: Path, name: str) -> None:
    folder = write_open_detector(tmp_path / name, name, seed=1)
    processor = AutoProcessor.from_pretrained(folder)
    model = own(AutoModelForZeroShotObjectDetection, folder)
    async with vision_stack(folder) as stack:
        answers = await asyncio.gather(
            detect(stack, *PICTURES, labels=LABELS, min_score=0.2), detect(stack, PICTURES[1], labels=LABELS[:2])
        )
        compared = 0
        for image, answer in zip(PICTURES, answers[0].results, strict=True):
            inputs = processor(text=LABELS, images=image, return_tensors="pt")
            with torch.inference_mode():
                output = model(**inputs)
            tokens = output.logits[0].sigmoid()
            (found,) = processor.post_process_grounded_object_detection(
                output, inputs.input_ids, 0.2, target_sizes=[image.size[::-1]]
            )
            kept = (tokens.amax(-1) > 0.2).nonzero()[:, 0].tolist()
            wanted: list[Found] = []
            for query, score, box in zip(kept, found["scores"].tolist(), found["boxes"].tolist(), strict=True):
                scores = by_label(processor.tokenizer, inputs.input_ids[0].tolist(), tokens[query].tolist())
                best = max(scores, key=lambda label: scores[label])
                if scores[best] > 0.2:  # what speaks for a full stop alone speaks for no label
                    wanted.append((scores[best], best, tuple(box)))
                    compared += scores[best] == pytest.approx(score)
            same(objects_of(answer), [each for each in (cut(one, image) for one in wanted) if each], image)
        assert compared > 10  # and so are the scores of the library's own post-processing
        alone = await detect(stack, PICTURES[1], labels=LABELS[:2])
        same(objects_of(alone.results[0]), objects_of(answers[1].results[0]), PICTURES[1])


def by_label(tokenizer: object, ids: list[int], scores: list[float]) -> dict[str, float]:
    """Returns the best token's score of each label: of those between full stops, in the order of the labels."""
    stop: int = tokenizer.convert_tokens_to_ids(".")  # type: ignore[attr-defined]
    found: dict[str, float] = {}
    names = iter(LABELS)
    phrase: list[float] = []
    for token, score in zip(ids[1:], scores[1:], strict=False):
        if token == stop:
            found[next(names)] = max(phrase)
            phrase = []
        else:
            phrase.append(score)
    return found


async def test_all_that_is_wrong_with_labels_is_told_at_once(tmp_path: Path) -> None:
    owl = write_open_detector(tmp_path / "owlvit", "owlvit")
    async with vision_stack(owl) as stack:

        async def violations(*labels: str) -> list[str]:
            with pytest.raises(InvalidArgument) as caught:
                await detect(stack, PICTURES[0], labels=labels, top_k=-1)
            return [f"{violation.field} {violation.description}" for violation in caught.value.violations]

        found = await violations("dog", "  ", "fox", "dog")
        assert found[1:] == ["labels[1] must not be empty", "labels[3] is the same as labels[0]"]
        assert found[0].startswith("top_k ")
        found = await violations("dog", "dog " * LABEL_TOKENS, "fox " * 9999)
        assert [each.split()[0] for each in found] == ["top_k", "labels[1]", "labels[2]"]
        assert "the model reads at most 16; shorten it" in found[1]
        with pytest.raises(TaskNotSupported, match="cannot do DetectObjects without labels"):
            await detect(stack, PICTURES[0])
        assert (await violations(*map(str, range(300))))[1] == "labels must hold at most 256 items, not 300"
    dino = write_open_detector(tmp_path / "grounding_dino", "grounding_dino")
    async with vision_stack(dino) as stack:
        assert "the model reads at most 48; look for fewer" in (await violations(*(f"dog {i}" for i in range(20))))[1]
        assert "labels[1] has no text that the model can read" in await violations("dog", "\u200b")
