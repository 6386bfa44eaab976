"""Questions about pictures and pages, and captions."""

from collections.abc import Iterator
from pathlib import Path

from local.exhibits.exhibit import Exhibit, Items, Shown, some
from local.exhibits.picture import opened, picture
from sensorium import Client
from sensorium.v1.common_pb2 import (
    ROLE_USER,
    BoundingBox,
    ImageSize,
    Media,
)
from sensorium.v1.multimodal_pb2 import (
    AnswerDocumentQuestionRequest,
    ContentPart,
    DocumentWord,
    MultimodalMessage,
    MultimodalPrompt,
    MultimodalServiceGenerateRequest,
)


def _file(folder: Path, name: str) -> Media:
    return Media(mime_type="image/png", data=(folder / name).read_bytes())


def _look(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    captioned = [item for item in items if item["asked"][0][0].startswith("caption")]
    compared = [item for item in items if "second" in item]
    for item in (*some(captioned, 3), *some(compared, 1)):
        images = [_file(folder, item[name]) for name in ("image", "second") if name in item]
        shown = picture(*(opened(image.data) for image in images))
        for _, question, wanted in (item["asked"][0], item["asked"][len(item["asked"]) // 2]):
            answer = _ask(client, folder, images, question)
            yield Shown(question, f"[dim]{question}[/]\n{answer}" if shown else answer, answer == wanted, shown)
            shown = None


def _ask(client: Client, folder: Path, images: list[Media], question: str) -> str:
    """Returns what the model says of images."""
    parts = [*(ContentPart(image=image) for image in images), ContentPart(text=question)]
    prompt = MultimodalPrompt(messages=[MultimodalMessage(role=ROLE_USER, parts=parts)])
    request = MultimodalServiceGenerateRequest(model=folder.name, prompt=prompt)
    return client.multimodal.generate(request).candidates[0].text


def _read(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 3):
        page = opened((folder / item["image"]).read_bytes())
        words: list[DocumentWord] = []
        for word in item["words"]:
            left, upper, right, lower = word["box"]
            box = BoundingBox(x_min=left, y_min=upper, x_max=right, y_max=lower)
            words.append(DocumentWord(text=word["text"], box=box))
        _, question, wanted = item["asked"][0]
        request = AnswerDocumentQuestionRequest(
            model=folder.name,
            question=question,
            words=words,
            page_size=ImageSize(width=page.width, height=page.height),
        )
        best = client.multimodal.answer_document_question(request).answers[0]
        yield Shown(f"{item['kind']}: {question}", f"{best.text} ({best.score:.2f})", best.text == wanted)


MULTIMODAL = {
    "image-chat": Exhibit("Generate", _look),
    "form-reader": Exhibit("AnswerDocumentQuestion", _read),
}
"""By the model's name."""
