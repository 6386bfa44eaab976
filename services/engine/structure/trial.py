"""The trial process: compiles structures for the first time, isolated from the service.

`python -m services.engine.structure.trial` reads one question per line, a JSON list of the kind and the texts of a
structure, and answers with a line of JSON: `{"grammar": …, "bytes": …}` or `{"reason": …}`. Each question runs in a
forked child with limits on CPU time and memory. So a structure that never finishes, or crashes the child, is refused
like any other. This module imports nothing slow.
"""

import json
import os
import random
import resource
import signal
import sys
import threading
from typing import Any

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from services.engine.structure.format import StructureFormat, StructureKind, StructureRefused
from services.engine.structure.grammar import grammar_of
from services.engine.structure.limits import STACK_BYTES, TRIAL_CPU_SECONDS, TRIAL_MEMORY_BYTES, parser_limits
from services.engine.structure.reasons import reason

_END_ID = 256
_STEPS = 64
"""Bytes generated as a test, to refuse structures that compile but soon fail."""
_DEATHS: dict[int, str] = {
    signal.SIGPROF: "takes too long to compile: shorten repetitions, alternatives and numbers, or split it",
    signal.SIGABRT: "takes too much memory to compile: shorten repetitions and alternatives, or split it",
    signal.SIGSEGV: "is nested too deeply",
}


class _Bytes:
    """A tokenizer with one token per byte value and an end token."""

    eos_token_id = _END_ID
    bos_token_id: int | None = None
    special_token_ids = (_END_ID,)
    tokens = (*(bytes([value]) for value in range(256)), b"<end>")

    def __call__(self, text: str | bytes) -> list[int]:
        """Returns one id per byte."""
        return list(text.encode() if isinstance(text, str) else text)


def main() -> None:
    """Answers questions until stdin closes."""
    tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()))
    for line in sys.stdin:
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.close(reading)
            _work(line, tokenizer, writing)
        os.close(writing)
        with os.fdopen(reading) as answer:
            text = answer.read()
        status = os.waitpid(child, 0)[1]
        if status or not text:
            text = json.dumps({"reason": _DEATHS.get(os.WTERMSIG(status), "does not compile")})
        print(text, flush=True)


def _work(line: str, tokenizer: LLTokenizer, writing: int) -> None:
    """Runs in the child: answers in a thread with a large stack, and exits."""

    def answer() -> None:
        os.write(writing, json.dumps(_answer(line, tokenizer)).encode())

    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=answer)
    thread.start()
    thread.join()
    os._exit(0)


def _answer(line: str, tokenizer: LLTokenizer) -> dict[str, Any]:
    kind, texts = json.loads(line)
    _bound_memory()
    try:
        signal.setitimer(signal.ITIMER_PROF, TRIAL_CPU_SECONDS)
        grammar = grammar_of(StructureFormat(StructureKind(kind), tuple(texts)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_PROF, TRIAL_CPU_SECONDS)
        wrong = _try(grammar, tokenizer)
    except StructureRefused as error:
        return {"reason": str(error)}
    except RecursionError:
        return {"reason": _DEATHS[signal.SIGSEGV]}
    except MemoryError:
        return {"reason": _DEATHS[signal.SIGABRT]}
    if wrong:
        return {"reason": reason(wrong)}
    return {"grammar": grammar, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10}


def _try(grammar: str, tokenizer: LLTokenizer) -> str:
    """Compiles a grammar and generates some random bytes with it. Returns the library's error, or an empty string."""
    matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=parser_limits())
    dice = random.Random(0)  # noqa: S311 - any path will do
    for _ in range(_STEPS):
        if matcher.is_stopped():
            break
        mask = matcher.compute_bitmask()
        possible = [value for value in range(256) if mask[value >> 3] >> (value & 7) & 1]
        if not possible or not matcher.consume_token(dice.choice(possible)):
            break
    return matcher.get_error()


def _bound_memory() -> None:
    """Limits the process's address space to its present size plus TRIAL_MEMORY_BYTES."""
    with open("/proc/self/statm") as sizes:  # noqa: PTH123 - read once
        pages = int(sizes.read().split()[0])
    most = pages * resource.getpagesize() + TRIAL_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
