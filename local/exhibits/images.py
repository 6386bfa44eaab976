"""Example calls of the image models."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from local.exhibits.exhibit import Exhibit, Items, Shown, some
from local.exhibits.picture import opened, picture
from sensorium import Client
from sensorium.v1.common_pb2 import Media
from sensorium.v1.vision_pb2 import (
    ClassifyImageRequest,
    DetectObjectsRequest,
    EmbedImageRequest,
    EstimateDepthRequest,
    SegmentImageRequest,
    SegmentImageResponse,
    TransformImageRequest,
)

_COLOURS = (
    (40, 40, 40),
    (230, 80, 80),
    (80, 160, 230),
    (240, 200, 60),
    (120, 200, 110),
    (190, 110, 220),
    (240, 150, 60),
)
_GOOD_OVERLAP = 0.8
_SAME = 0.5
_GOOD_DEPTH = 0.15
"""Largest mean relative error of depth that counts as right."""


def _file(folder: Path, name: str) -> Media:
    return Media(mime_type="image/png", data=(folder / name).read_bytes())


def _classify(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        (result,) = client.vision.classify_image(ClassifyImageRequest(model=folder.name, images=[image])).results
        best = result.labels[0]
        yield Shown(
            item["image"], f"{best.label} ({best.score:.2f})", best.label == item["label"], picture(opened(image.data))
        )


def _compare(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        labels = sorted({other["label"] for other in items if other["set"] == item["set"]})
        image = _file(folder, item["image"])
        request = ClassifyImageRequest(model=folder.name, images=[image], labels=labels)
        best = client.vision.classify_image(request).results[0].labels[0]
        answer = f"{best.label} ({best.score:.2f}) among {len(labels)} labels"
        yield Shown(item["image"], answer, best.label == item["label"], picture(opened(image.data)))
    item = some(items, 2)[1]
    texts = sorted({other["label"] for other in items if other["set"] == item["set"]})
    vectors = client.vision.embed_image(
        EmbedImageRequest(model=folder.name, images=[_file(folder, item["image"])], texts=texts)
    )
    own = np.array(vectors.image_embeddings[0].values)
    near = [float(own @ np.array(each.values)) for each in vectors.text_embeddings]
    best = texts[int(np.argmax(near))]
    yield Shown("EmbedImage: the nearest text", f"{best} ({max(near):.2f})", best == item["label"])


def _detect(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        (result,) = client.vision.detect_objects(DetectObjectsRequest(model=folder.name, images=[image])).results
        found = Counter(each.label.label for each in result.objects)
        boxes = [
            f"{each.label.label} at ({each.box.x_min:.0f}, {each.box.y_min:.0f})–({each.box.x_max:.0f}, "
            f"{each.box.y_max:.0f})"
            for each in result.objects
        ]
        summary = f"{len(boxes)} found, {len(item['labels'])} drawn:\n" + "\n".join(boxes)
        drawn: Counter[str] = Counter(item["labels"])
        yield Shown(item["image"], summary, drawn <= found, picture(opened(image.data)))


def _find(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    labels = sorted({label for item in items for label in item["labels"]})
    for item in some(items, 2):
        image = _file(folder, item["image"])
        request = DetectObjectsRequest(model=folder.name, images=[image], labels=labels, min_score=0.5)
        (result,) = client.vision.detect_objects(request).results
        found = Counter(each.label.label for each in result.objects)
        drawn: Counter[str] = Counter(item["labels"])
        names = ", ".join(f"{count} {name}" if count > 1 else name for name, count in found.items())
        summary = f"{names}\namong {len(labels)} labels; drawn: {', '.join(drawn.elements())}"
        yield Shown(item["image"], summary, drawn <= found, picture(opened(image.data)))


def _point(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        points = [SegmentImageRequest.PointPrompt(x=x, y=y) for x, y in item["points"]]
        prompts = [SegmentImageRequest.RegionPrompt(points=[point]) for point in points]
        answer = client.vision.segment_image(SegmentImageRequest(model=folder.name, image=image, prompts=prompts))
        size = (answer.image_size.height, answer.image_size.width)
        figures = np.asarray(opened((folder / item["map"]).read_bytes()))
        found, overlaps = np.zeros(size, dtype=np.uint8), list[float]()
        for segment in answer.segments:
            mask = _mask(segment.mask.run_length.run_lengths, size)
            point = points[segment.prompt_index]
            wanted = figures == figures[int(point.y), int(point.x)]
            overlaps.append(float((mask & wanted).sum() / (mask | wanted).sum()))
            found[mask] = segment.prompt_index + 1
        summary = "overlap with the figures pointed at: " + ", ".join(f"{100 * share:.0f} %" for share in overlaps)
        right = len(overlaps) == len(points) and min(overlaps) > _SAME
        yield Shown(item["image"], summary, right, picture(opened(image.data), _coloured(found)))


def _segment(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        request = SegmentImageRequest(model=folder.name, image=image, mode=SegmentImageRequest.MODE_SEMANTIC)
        answer = client.vision.segment_image(request)
        found = _painted(answer, [segment.label_index for segment in answer.segments])
        wanted = np.asarray(opened((folder / item["map"]).read_bytes()))
        right = float((found == wanted).mean())
        names = ", ".join(segment.label for segment in answer.segments)
        summary = f"{names}\n{100 * right:.1f} % of pixels right"
        yield Shown(item["image"], summary, right > _GOOD_OVERLAP, picture(opened(image.data), _coloured(found)))


def _cut(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        request = SegmentImageRequest(model=folder.name, image=image, mode=SegmentImageRequest.MODE_PANOPTIC)
        answer = client.vision.segment_image(request)
        found = _painted(answer, range(1, len(answer.segments) + 1))
        names = [segment.label for segment in answer.segments]
        right = Counter(names) == Counter(item["segments"])
        yield Shown(item["image"], ", ".join(names), right, picture(opened(image.data), _coloured(found)))


def _estimate(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        request = EstimateDepthRequest(model=folder.name, image=image, format=EstimateDepthRequest.DEPTH_FORMAT_FLOAT32)
        answer = client.vision.estimate_depth(request)
        size = (answer.image_size.height, answer.image_size.width)
        found = np.frombuffer(answer.float32, dtype="<f4").reshape(size)
        wanted = np.asarray(opened((folder / item["depth"]).read_bytes())) / item["per_metre"]
        error = float((np.abs(found - wanted) / wanted).mean())
        summary = f"{answer.min_depth:.2f} m to {answer.max_depth:.2f} m, mean error {100 * error:.1f} %"
        yield Shown(item["image"], summary, error < _GOOD_DEPTH, picture(opened(image.data), _shaded(found)))


def _enlarge(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        image = _file(folder, item["image"])
        answer = client.vision.transform_image(TransformImageRequest(model=folder.name, image=image))
        found, small = opened(answer.image.data).convert("RGB"), opened(image.data).convert("RGB")
        wanted = opened((folder / item["large"]).read_bytes()).convert("RGB")
        plain = small.resize(wanted.size, Image.Resampling.BICUBIC)
        own, others = _psnr(found, wanted), _psnr(plain, wanted)
        summary = (
            f"{small.width} × {small.height} → {found.width} × {found.height}; {own:.1f} dB, bicubic {others:.1f} dB"
        )
        yield Shown(item["image"], summary, own > others, picture(small, found))


def _painted(answer: SegmentImageResponse, numbers: Iterable[int]) -> NDArray[np.uint8]:
    """Returns an image in which each segment's pixels have its number, and others 0."""
    size = (answer.image_size.height, answer.image_size.width)
    found = np.zeros(size, dtype=np.uint8)
    for segment, number in zip(answer.segments, numbers, strict=True):
        found[_mask(segment.mask.run_length.run_lengths, size)] = number
    return found


def _mask(run_lengths: object, size: tuple[int, int]) -> NDArray[np.bool_]:
    lengths = np.array(run_lengths)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside.reshape(size[::-1]).T


def _coloured(classes: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.array(_COLOURS, dtype=np.uint8)[classes % len(_COLOURS)])


def _shaded(depth: NDArray[np.float32]) -> Image.Image:
    near = (depth.max() - depth) / max(float(np.ptp(depth)), 1e-6)
    return Image.fromarray((255 * near).astype(np.uint8))


def _psnr(found: Image.Image, wanted: Image.Image) -> float:
    """Returns the peak signal-to-noise ratio (PSNR) in dB."""
    apart = np.asarray(found, dtype=np.float64) - np.asarray(wanted, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(float((apart**2).mean()), 1e-9)))


IMAGES = {
    "digits": Exhibit("ClassifyImage", _classify),
    "image-text": Exhibit("ClassifyImage, labels in the request", _compare),
    "detector": Exhibit("DetectObjects", _detect),
    "open-detector": Exhibit("DetectObjects, labels in the request", _find),
    "prompted-segmenter": Exhibit("SegmentImage, points", _point),
    "semantic-segmenter": Exhibit("SegmentImage, semantic", _segment),
    "panoptic-segmenter": Exhibit("SegmentImage, panoptic", _cut),
    "depth": Exhibit("EstimateDepth", _estimate),
    "upscaler": Exhibit("TransformImage", _enlarge),
}
"""By model name."""
