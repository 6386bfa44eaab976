"""A request paused for a slow reader holds no thread of the library's `generate` loop."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry

from services.engine.admission import Admission, QueueLimits
from services.engine.checkpoint import Checkpoint
from services.engine.media.audio_encoding import AudioEncoding
from services.engine.metrics import EngineMetrics
from services.engine.speech_synthesis.engine import SpeechEngine, SpeechLimits
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker
from services.engine.threads.preprocessing import Preprocessing
from services.speech.synthesis.synthesis_ask import SynthesisAsk
from services.speech.synthesis.synthesize import Synthesizer
from tests.tiny.codec_speakers import write_csm, write_dia
from tests.waiting import until

ASK = SynthesisAsk(
    text="What is it? A fox.",
    streamed=True,
    voice=None,
    speaker_embedding=None,
    language="",
    speaking_rate=None,
    encoding=AudioEncoding.LINEAR16,
    sample_rate=None,
    seed=1,
    deadline=None,
)


@pytest.mark.parametrize(
    "write", [partial(write_csm, new_tokens=24), partial(write_dia, length=200)], ids=["csm", "dia"]
)
async def test_a_text_that_is_not_read_waits_between_its_sentences(
    tmp_path: Path, write: Callable[[Path], Path], loops: Callable[[], int]
) -> None:
    loaded = load_speaker(Checkpoint(str(write(tmp_path)), torch.device("cpu")), SpeakerParts())
    admission = Admission(QueueLimits(9))
    engine = SpeechEngine(admission, EngineMetrics(CollectorRegistry()), SpeechLimits(unread_samples=1))
    preprocessing = Preprocessing(admission)
    synthesizer = Synthesizer(loaded, engine, preprocessing, 1000, 1 << 22)

    engine.start()
    try:
        async with synthesizer.speaking(ASK) as spoken:
            await until(lambda: any(speech.unread for speech in engine._speaking))
            await until(lambda: loops() == 0)
            assert [delta.audio async for delta in spoken.deltas()]
            assert spoken.end(at_once=False).cut, "no sentence of these models ends by itself"
    finally:
        await asyncio.to_thread(engine.close)
        preprocessing.close()
