"""Has a runner compute the whole decoder in one native call, where that equals the model's own forward."""

import logging
from functools import partial

import torch

from services.engine.fusion.decoder_parts import decoder_parts
from services.engine.fusion.whole_decoder import WholeDecoder
from services.engine.generation.building.verification import check_prompts, engine_logits
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.native.library import load_library

log = logging.getLogger(__name__)


def run_whole(loaded: LoadedModel, runner: ModelRunner, pool: PagePool) -> None:
    """Sets `runner.whole` if all parts of the model are known and the logits are the same by the bit."""
    library = load_library() if loaded.device.type == "cpu" else None
    run = partial(engine_logits, runner, pool, check_prompts(loaded, pool))
    if library is None or (parts := decoder_parts(loaded.model, run)) is None:
        return
    adapters = loaded.adapters
    named = ["", *(adapters.named if adapters is not None and adapters.grouped else ())]
    own = [run(adapter=name) for name in named]
    runner.whole = WholeDecoder(library, parts, runner.cache)
    if all(torch.equal(run(adapter=name), logits) for name, logits in zip(named, own, strict=True)):
        log.info("the decoder is computed in one call")
    else:
        runner.whole = None
