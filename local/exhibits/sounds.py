"""Example calls of the audio models."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from local.exhibits.exhibit import Exhibit, Items, Shown, some
from local.exhibits.waveform import waveform
from sensorium import Client
from sensorium.v1.common_pb2 import Media
from sensorium.v1.speech_pb2 import (
    AUDIO_ENCODING_LINEAR16,
    ClassifyAudioRequest,
    EmbedAudioRequest,
    StreamSynthesizeRequest,
    StreamTranscribeConfig,
    StreamTranscribeRequest,
    TranscribeRequest,
)

_LISTENER = "transcriber"
_PIECE = 0.1
"""Seconds of audio in each message of a live stream."""
_HASTE = 4.0
"""The live stream is sent this many times faster than real time, so that the demo stays short."""


def _file(folder: Path, name: str) -> Media:
    return Media(mime_type="audio/ogg", data=(folder / name).read_bytes())


def _samples(data: bytes) -> tuple[NDArray[np.float32], int]:
    read: Any = soundfile.read(io.BytesIO(data), dtype="float32")
    return read


def _transcribe(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in some(items, 2):
        audio = _file(folder, item["audio"])
        text = client.speech.transcribe(TranscribeRequest(model=folder.name, audio=audio)).transcripts[0].text
        yield Shown(item["audio"], text, text == item["text"], waveform(_samples(audio.data)[0]))
    yield _live(client, folder, some(items, 3)[1])


def _live(client: Client, folder: Path, item: dict[str, str]) -> Shown:
    """Streams a recording like live audio, but faster."""
    samples, rate = _samples((folder / item["audio"]).read_bytes())
    config = StreamTranscribeConfig(
        model=folder.name, encoding=AUDIO_ENCODING_LINEAR16, sample_rate_hertz=rate, interim_results=True
    )
    bare = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    step = 2 * round(rate * _PIECE)
    pieces = [bare[at : at + step] for at in range(0, len(bare), step)]

    def spoken() -> Iterator[StreamTranscribeRequest]:
        yield StreamTranscribeRequest(config=config)
        for piece in pieces:
            time.sleep(_PIECE / _HASTE)
            yield StreamTranscribeRequest(audio=piece)

    finals: list[str] = []
    interim = 0
    with client.speech.stream_transcribe(spoken()) as events:
        for event in events:
            if event.HasField("result"):
                interim += not event.result.final
                if event.result.final:
                    finals.append(event.result.text)
    summary = f"{' '.join(finals)}\nlive, after {interim} interim results in {len(finals)} utterances"
    return Shown(
        f"StreamTranscribe, {len(pieces)} pieces", summary, " ".join(finals) == item["text"], waveform(samples)
    )


def _say(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    """Synthesizes texts, and checks them by transcribing the speech."""
    for item in some(items, 2):
        began = time.perf_counter()
        first = 0.0
        pieces: list[bytes] = []
        rate = 0
        request = StreamSynthesizeRequest(model=folder.name, text=item["text"], seed=0)
        with client.speech.stream_synthesize(request) as events:
            for event in events:
                if event.HasField("started"):
                    rate = event.started.sample_rate_hertz
                elif event.HasField("delta"):
                    first = first or 1000 * (time.perf_counter() - began)
                    pieces.append(event.delta.audio)
        bare = b"".join(pieces)
        heard = TranscribeRequest(
            model=_LISTENER, audio=Media(mime_type=f"audio/l16;rate={rate};channels=1", data=bare)
        )
        text = client.speech.transcribe(heard).transcripts[0].text
        seconds = len(bare) / 2 / rate
        summary = f"transcribed as: {text}\n{seconds:.1f} s of speech, the first after {first:.0f} ms"
        sound = np.frombuffer(bare, "<i2").astype(np.float32)
        picture = waveform(sound)
        picture.append(f"\n{item['text']}")
        yield Shown(item["text"], summary, text == item["text"], picture)


def _different(items: Items, count: int) -> Items:
    """Returns `count` items with different labels."""
    return some(list({item["label"]: item for item in items}.values()), count)


def _classify(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    for item in _different(items, 3):
        audio = _file(folder, item["audio"])
        request = ClassifyAudioRequest(model=folder.name, recordings=[audio])
        best = client.speech.classify_audio(request).results[0].labels[0]
        summary = f"{best.label} ({best.score:.2f})"
        yield Shown(item["audio"], summary, best.label == item["label"], waveform(_samples(audio.data)[0]))


def _compare(client: Client, folder: Path, items: Items) -> Iterator[Shown]:
    labels = sorted({item["label"] for item in items})
    chosen = _different(items, 2)
    for item in chosen:
        audio = _file(folder, item["audio"])
        request = ClassifyAudioRequest(model=folder.name, recordings=[audio], labels=labels)
        best = client.speech.classify_audio(request).results[0].labels[0]
        summary = f"{best.label} ({best.score:.2f}) among {len(labels)} labels"
        yield Shown(item["audio"], summary, best.label == item["label"], waveform(_samples(audio.data)[0]))
    item = chosen[1]
    request = EmbedAudioRequest(model=folder.name, recordings=[_file(folder, item["audio"])], texts=labels)
    vectors = client.speech.embed_audio(request)
    own = np.array(vectors.audio_embeddings[0].values)
    near = [float(own @ np.array(each.values)) for each in vectors.text_embeddings]
    best_text = labels[int(np.argmax(near))]
    yield Shown("EmbedAudio: the nearest text", f"{best_text} ({max(near):.2f})", best_text == item["label"])


SOUNDS = {
    "transcriber": Exhibit("Transcribe", _transcribe),
    "synthesizer": Exhibit("Synthesize → Transcribe", _say),
    "sounds": Exhibit("ClassifyAudio", _classify),
    "sound-text": Exhibit("ClassifyAudio, labels in the request", _compare),
}
"""By model name."""
