from typing import Any

import pytest

from sensorium.errors import Violation
from services.engine.multimodal.kind import MediaKind
from services.generation.ask import ShownMedium
from services.generation.generator_parts import GeneratorParts
from services.multimodal.chat.generate import MediaPrompts, MultimodalGenerator
from services.sent_media import SentMedia

NONE: Any = None
IMAGE, AUDIO = MediaKind.IMAGE, MediaKind.AUDIO


class Reader:
    """Reads whatever it is given, without a look."""

    def read(self, kind: MediaKind, *_: Any, **__: Any) -> Any:
        return kind


READER: Any = Reader()


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        ([IMAGE, AUDIO, IMAGE], ""),
        ([AUDIO, IMAGE, AUDIO], "show 2 media of kind audio, of which this model reads one in a prompt"),
        ([IMAGE] * 4, "show 4 images and recordings; at most 3 are read"),
    ],
)
def test_of_a_kind_that_is_read_alone_there_is_one(shown: list[MediaKind], wrong: str) -> None:
    prompts = MediaPrompts(READER, NONE, 3, {AUDIO})
    generator = MultimodalGenerator(GeneratorParts(NONE, NONE, NONE, NONE), prompts)
    found: list[Violation] = []
    read: Any = generator._media([ShownMedium(kind, SentMedia(b"", ""), "image") for kind in shown], found, None)
    assert found == ([Violation("prompt.messages", wrong)] if wrong else [])
    assert read == ([] if wrong else [(kind, kind) for kind in shown])
