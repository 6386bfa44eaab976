"""Compiles structures in a thread of its own, so that neither the event loop nor the engine's thread waits."""

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
    """Compiles and caches structures for one tokenizer. `find` must be called on the event loop.

    A single thread compiles, apart from the preprocessing threads. The admission limits how many requests wait for it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, admission: Admission) -> None:
        """Reads the tokenizer's vocabulary, which can take seconds."""
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
            # An unknown kind of tokenizer must not prevent its model from being served without structured output.
            log.warning("structured output is refused, since the tokenizer cannot be read", exc_info=True)
            self._unreadable = "the model's tokenizer cannot be read"
        self._executor = _deep_thread()

    async def find(self, wanted: StructureFormat | None) -> Found:
        """Returns the compiled structure, or the violations that refuse it. For None returns neither.

        Raises:
            QueueFull: too many requests are being prepared already.
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
                # Other requests may wait for the same structure: cancelling this one must not cancel the compilation.
                found = await asyncio.shield(asyncio.wrap_future(self._compiling(wanted)))
        if isinstance(found, Refusal):
            return None, (Violation(wanted.field, found.reason),)
        return found, ()

    def close(self) -> None:
        """Cancels what has not started, and ends the thread and the trial process."""
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
            return Refusal(str(error))  # not cached: on a less busy machine it may compile
        except (StructureRefused, StructureFailed) as error:
            found = Refusal(str(error))
        self._cache.put(wanted, found)
        return found


def _deep_thread() -> ThreadPoolExecutor:
    """Returns an executor of one thread whose stack is large enough for the library's recursion."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="structures")
    usual = threading.stack_size(STACK_BYTES)
    try:
        executor.submit(threading.get_ident).result()
    finally:
        threading.stack_size(usual)
    return executor
