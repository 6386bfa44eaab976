"""Checks of live transcription requests that do not depend on the model."""

from collections.abc import Iterator

from sensorium.errors import Violation
from services.engine.media.recording import CHANNELS, RATES
from services.speech.live.endpointing import Endpointing
from services.speech.live.intake import Encoding
from services.speech.live.live_ask import EndpointingAsk, LiveAsk
from services.speech.live.voice_detector import FRAME_SECONDS


def wrong_audio(ask: LiveAsk) -> Iterator[Violation]:
    """Checks the audio's encoding, sample rate and channels."""
    if ask.encoding and ask.encoding not in Encoding.__members__:
        bare = ", ".join(Encoding.__members__)
        yield Violation("config.encoding", f"{ask.encoding} is a file format; a stream takes raw samples: {bare}")
    if ask.rate not in RATES:
        yield Violation("config.sample_rate_hertz", f"must be in [{RATES[0]}, {RATES[-1]}], not {ask.rate}")
    if ask.channels is not None and ask.channels not in CHANNELS:
        yield Violation("config.channel_count", f"must be in [{CHANNELS[0]}, {CHANNELS[-1]}], not {ask.channels}")


def endpointing_of(ask: EndpointingAsk, window_seconds: float, wrong: list[Violation]) -> Endpointing:
    """Returns the endpointing options with defaults, for a model that reads `window_seconds` at once.

    Adds faults to `wrong`.
    """
    own = Endpointing(max_utterance=window_seconds)
    found = Endpointing(
        speech_threshold=own.speech_threshold if ask.speech_threshold is None else ask.speech_threshold,
        min_speech=own.min_speech if ask.min_speech is None else ask.min_speech,
        min_silence=own.min_silence if ask.min_silence is None else ask.min_silence,
        padding=own.padding if ask.padding is None else ask.padding,
        max_utterance=own.max_utterance if ask.max_utterance is None else ask.max_utterance,
    )
    wrong += [Violation(f"config.endpointing.{field}", text) for field, text in _wrong(found, window_seconds)]
    return found


def _wrong(found: Endpointing, window_seconds: float) -> Iterator[tuple[str, str]]:
    # Written so that NaN, which compares as false with everything, is refused.
    if not 0 <= found.speech_threshold <= 1:
        yield "speech_threshold", f"must be in [0, 1], not {found.speech_threshold:g}"
    for name in ("min_speech", "min_silence", "padding"):
        if getattr(found, name) < 0:
            yield f"{name}_duration", "must not be negative"
    longest = found.max_utterance
    if not 4 * FRAME_SECONDS <= longest <= window_seconds:
        yield "max_utterance_duration", f"must be in [{4 * FRAME_SECONDS:g} s, {window_seconds:g} s], not {longest:g} s"
        return
    if found.padding * 2 >= longest:
        yield "padding_duration", f"must be less than half of an utterance of at most {longest:g} s"
    if found.min_speech >= longest - found.padding:
        yield "min_speech_duration", f"does not fit into an utterance of at most {longest:g} s with its padding"
