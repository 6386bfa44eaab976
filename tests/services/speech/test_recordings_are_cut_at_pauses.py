from typing import Any

import numpy as np

from services.speech.live.voice_network import VoiceNetwork, VoiceState
from services.speech.transcription.recording_cuts import RecordingCuts
from tests.vowels import RATE, Samples, said

SPOKEN = "aeiou oia ue aeoi uoi"
CUTS = RecordingCuts(VoiceNetwork.load(), RATE, 8)


def windows(samples: Samples) -> list[int]:
    places = [0]
    while places[-1] < len(samples):
        places.append(CUTS.next(samples, places[-1]))
    return places


def test_a_window_ends_in_a_pause_of_its_last_quarter() -> None:
    """The last quarter begins within speech; the detector also reads some audio before it."""
    before, pause = said(0.5, SPOKEN, 0.3, "ue aeoi uoi a"), 0.3
    assert 6.5 * RATE < len(before) < 7.6 * RATE
    (_, first, *_) = windows(np.concatenate((before, said(pause, SPOKEN, SPOKEN))))
    assert abs(first - len(before) - pause * RATE / 2) < 0.15 * RATE


class Loudness:
    """Takes everything for speech, louder frames with a higher probability."""

    def probability(self, frame: Samples, _state: VoiceState) -> float:
        return 0.6 + 0.3 * float(frame.max())


def test_speech_without_a_pause_is_cut_where_it_is_least_likely() -> None:
    network: Any = Loudness()
    speech = np.ones(20 * RATE, np.float32)
    speech[round(7.1 * RATE) : round(7.2 * RATE)] = 0
    first = RecordingCuts(network, RATE, 8).next(speech, 0)
    assert 7.1 * RATE <= first <= 7.2 * RATE


def test_what_fits_is_whole() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * RATE).astype(np.float32)
    assert windows(noise) == [0, len(noise)]
    barely = windows(np.concatenate((noise, noise[:1])))
    assert len(barely) == 3
    assert barely[1] <= 6 * RATE + 1
