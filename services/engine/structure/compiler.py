"""Compiles structures off the event loop and off the engine's thread, each once."""

import asyncio
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from transformers import PreTrainedTokenizerBase

from sensorium.errors import Violation
from services.engine.admission import Admission
from services.engine.structure.cache import Refusal, StructureCache
from services.engine.structure.format import StructureFormat, StructureRefused, StructureUndecided
from services.engine.structure.limits import STACK_BYTES, size_violations
from services.engine.structure.sandbox import Sandbox
from services.engine.structure.structure import Structure, StructureFailed
from services.engine.structure.vocabulary import Vocabulary, VocabularyUnreadable

log = logging.getLogger(__name__)

Found = tuple[Structure | None, tuple[Violation, ...]]


class StructureCompiler:
    """Finds the compiled form of structures for one tokenizer. `find` is called on the event loop.

    One thread of its own compiles, so that tokenizing goes on beside it; no more may wait for it than the queue holds.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, admission: Admission) -> None:
        """Reads the tokenizer's vocabulary: seconds, for the largest."""
        self._admission = admission
        self._cache = StructureCache()
        self._pending: dict[StructureFormat, Future[Structure | Refusal]] = {}
        self._sandbox = Sandbox()
        self._unreadable = ""
        try:
            self._vocabulary = Vocabulary(tokenizer)
        except VocabularyUnreadable as error:
            log.warning("structured output is refused: %s", error)
            self._unreadable = str(error)
        except Exception:
            # A tokenizer of a kind that nobody tried must not keep its model from being served.
            log.warning("structured output is refused, since the tokenizer cannot be read", exc_info=True)
            self._unreadable = "the model's tokenizer cannot be read"
        self._executor = _deep_thread()

    async def find(self, wanted: StructureFormat | None) -> Found:
        """Returns the compiled structure, or what is wrong with it; neither if none is wanted.

        Raises:
            QueueFull: as many requests as may wait are being prepared already.
        """
        if wanted is None:
            return None, ()
        if wrong := tuple(size_violations(wanted)):
            return None, wrong
        if self._unreadable:
            return None, (Violation("parameters.structured_output", f"cannot be served: {self._unreadable}"),)
        found = self._cache.get(wanted)
        if found is None:
            with self._admission.preparing():
                # Others may wait for the same: one that leaves must not take it from them.
                found = await asyncio.shield(asyncio.wrap_future(self._compiling(wanted)))
        if isinstance(found, Refusal):
            return None, (Violation(wanted.field, found.reason),)
        return found, ()

    def close(self) -> None:
        """Drops what has not begun, and ends the thread and its process."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._sandbox.close()

    def _compiling(self, wanted: StructureFormat) -> "Future[Structure | Refusal]":
        pending = self._pending.get(wanted)
        if pending is None:
            pending = self._pending[wanted] = self._executor.submit(self._compile, wanted)
            pending.add_done_callback(lambda _: self._pending.pop(wanted, None))
        return pending

    def _compile(self, wanted: StructureFormat) -> Structure | Refusal:
        try:
            grammar, compiled_bytes = self._sandbox.try_out(wanted)
            found = Structure(wanted.field, grammar, self._vocabulary, compiled_bytes)
        except StructureUndecided as error:
            return Refusal(str(error))  # which is not kept: whoever asks again may find the machine less busy
        except (StructureRefused, StructureFailed) as error:
            found = Refusal(str(error))
        self._cache.put(wanted, found)
        return found


def _deep_thread() -> ThreadPoolExecutor:
    """Returns an executor of one thread with a stack for the library's recursion."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="structures")
    usual = threading.stack_size(STACK_BYTES)
    try:
        executor.submit(threading.get_ident).result()
    finally:
        threading.stack_size(usual)
    return executor
