import threading
import time

import pytest

from services.engine.encoders.reader import TextReader
from services.engine.encoders.tokens import TextTokens
from services.engine.threads import turns
from services.engine.threads.turns import Turns
from tests.tiny.encoders import wordpiece


def test_two_threads_that_read_the_first_pair_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to read a pair gives way within it, to one that reads a pair too."""
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    taken, read = Turns(1), list[TextTokens]()
    reader = TextReader(wordpiece(), 64)
    part = reader.whole_part("a cat", field="text")
    one_works = threading.Event()

    def first() -> None:
        with taken.worked(bool):
            one_works.set()
            while not taken._line.waited_in:
                time.sleep(0.001)
            read.append(reader.pair(part, part))

    def second() -> None:
        one_works.wait()
        with taken.worked(bool):
            read.append(reader.pair(part, part))

    threads = [threading.Thread(target=each, daemon=True) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(read) == 2
    assert read[0].ids == read[1].ids == reader.encode("a cat", "a cat").ids
