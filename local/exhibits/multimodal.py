"""Example calls of the multimodal model: captions, and questions about images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.exhibits.exhibit import Exhibit, Items, Shown, some
from local.exhibits.picture import opened, picture
from sensorium import Client
from sensorium.v1.common_pb2 import ROLE_USER, Media
from sensorium.v1.multimodal_pb2 import (
    AnswerImageQuestionRequest,
    CaptionRequest,
    ContentPart,
    MultimodalMessage,
    MultimodalPrompt,
    MultimodalServiceGenerateRequest,
)


def _file(folder: Path, name: str) -> Media:
    return Media(mime_type="image/png", data=(folder / name).read_bytes())


def _look(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some([item for item in items if item["asked"][0][0].startswith("caption")]):
        image = _file(folder, item["image"])
        caption = client.multimodal.caption(CaptionRequest(model=folder.name, image=image)).candidates[0].text
        yield Shown(item["image"], caption, caption == item["asked"][0][2], picture(opened(image.data)))
        _, question, wanted = item["asked"][len(item["asked"]) // 2]
        request = AnswerImageQuestionRequest(model=folder.name, image=image, question=question)
        answer = client.multimodal.answer_image_question(request).answers[0].text
        yield Shown(question, answer, answer == wanted)
    yield from _compare(client, folder, next(item for item in items if "second" in item))


def _compare(client: Client, folder: Path, item: dict[str, Any]) -> Iterator[Shown]:
    images = [_file(folder, item[name]) for name in ("image", "second")]
    _, question, wanted = item["asked"][0]
    parts = [*(ContentPart(image=image) for image in images), ContentPart(text=question)]
    prompt = MultimodalPrompt(messages=[MultimodalMessage(role=ROLE_USER, parts=parts)])
    request = MultimodalServiceGenerateRequest(model=folder.name, prompt=prompt)
    answer = client.multimodal.generate(request).candidates[0].text
    summary = f"[dim]Generate: {question}[/]\n{answer}"
    yield Shown(question, summary, answer == wanted, picture(*(opened(image.data) for image in images)))


MULTIMODAL = {
    "image-chat": Exhibit("Caption, AnswerImageQuestion", _look),
}
"""By model name."""
