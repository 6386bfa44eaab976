import numpy as np
import pytest

from services.speech.live.endpointing import Began, Ended, Endpointer, Endpointing, Moment
from services.speech.live.voice_detector import FRAME_SECONDS


def seconds(frames: int) -> float:
    return frames * FRAME_SECONDS


def moments(heard: str, **changes: float) -> list[Moment]:
    """Runs one frame per character: `-` is silence, `S` speech, a digit a probability in tenths."""
    defaults = {
        "min_speech": seconds(2),
        "min_silence": seconds(4),
        "padding": seconds(3),
        "max_utterance": seconds(40),
    }
    endpointer = Endpointer(Endpointing(**{**defaults, **changes}))
    found: list[Moment] = []
    for sign in heard:
        found += endpointer.hear({"-": 0.0, "S": 1.0}.get(sign) if sign in "-S" else int(sign) / 10)  # type: ignore[arg-type]
    return [*found, *endpointer.end()]


def test_speech_begins_after_its_least_duration_and_ends_after_the_silence() -> None:
    assert moments("-----SSS-SS--------") == [Began(5, 2), Ended(11, 14)]


def test_shorter_speech_is_none() -> None:
    assert moments("---S---S-S------") == []


def test_shorter_silence_is_none() -> None:
    assert moments("SSS---SS---SS-----", padding=0) == [Began(0, 0), Ended(13, 13)]


def test_the_end_of_the_audio_ends_the_utterance() -> None:
    assert moments("--SSSS--") == [Began(2, 0), Ended(6, 8)]
    assert moments("--SSSS") == [Began(2, 0), Ended(6, 6)]


def test_utterances_share_silence_but_no_speech() -> None:
    assert moments("SSS----SSS----", padding=seconds(6)) == [Began(0, 0), Ended(3, 7), Began(7, 3), Ended(10, 14)]


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 1), (0.5, 1), (0.51, 0), (1.0, 0)])
def test_a_frame_counts_from_the_threshold_on(threshold: float, count: int) -> None:
    assert len(moments("555555", speech_threshold=threshold)) == 2 * count


def test_a_long_utterance_is_cut_where_speech_is_the_least_likely() -> None:
    speech = "S" * 17 + "7" + "S" * 12
    assert moments(speech, max_utterance=seconds(20)) == [Began(0, 0), Ended(17, 17), Began(17, 17), Ended(30, 30)]


def test_a_long_utterance_ends_in_a_pause_if_it_is_in_one() -> None:
    found = moments("S" * 18 + "---" + "S" * 5, max_utterance=seconds(20), padding=seconds(1))
    assert found == [Began(0, 0), Ended(18, 19), Began(21, 20), Ended(26, 26)]


def test_no_utterance_is_longer_than_it_may_be_nor_cut_before_what_is_sure() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        heard = "".join(draws.choice(list("--4567SSSSSSSSSSSS"), 400))
        longest = int(draws.integers(10, 60))
        padding = seconds(int(draws.integers(0, 4)))
        endpointing = {"max_utterance": seconds(longest), "padding": padding}
        uncut = Endpointer(Endpointing(**endpointing)).uncut
        end = begin = 0
        for moment in moments(heard, **endpointing):
            if isinstance(moment, Began):
                assert end <= moment.audio <= moment.speech
                begin, end = moment.audio, moment.speech
            else:
                assert begin < moment.audio <= begin + longest
                assert moment.speech <= moment.audio <= moment.speech + round(padding / FRAME_SECONDS)
                end = moment.speech
                if moment.speech == moment.audio and heard[moment.audio : moment.audio + 1] in "5678S":
                    assert moment.audio >= begin + uncut or moment.audio == len(heard)
