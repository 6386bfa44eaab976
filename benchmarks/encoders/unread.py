"""`python -m benchmarks.encoders.unread`: what is saved when only one token per text is needed, or tokens are padding.

Measured in process, by turns, in CPU time of one thread, so that other load matters little. The baseline is a batch
all of whose output tokens are needed.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModel

from benchmarks.encoders.checkpoints import text_model
from benchmarks.encoders.inputs import TEXT_TOKENS
from benchmarks.process import ROOT
from services.engine.checkpoint import Checkpoint
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import load_text_encoder
from services.engine.encoders.pooled_tokens import PooledTokens

TEXTS = 32


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Batches of each kind.")] = 10,
    cache: Annotated[Path, typer.Option(help="Folder for the model.")] = ROOT / ".bench",
) -> None:
    """Measures a BERT-base in bfloat16 on batches of 32 texts."""
    torch.set_num_threads(1)
    loaded = load_text_encoder(Checkpoint(str(text_model(cache)), torch.device("cpu"), dtype="bfloat16"), AutoModel)
    accelerate(loaded)
    pooled = PooledTokens(loaded)
    ids = torch.randint(5, 5000, (TEXTS, TEXT_TOKENS))
    lengths = torch.arange(TEXTS) % 7 + TEXT_TOKENS - 6
    whole, padded = torch.ones_like(ids), (torch.arange(TEXT_TOKENS) < lengths[:, None]).long()

    @torch.inference_mode()
    def taken(places: Sequence[int] | None, mask: Tensor) -> float:
        pooled.want(places)
        began = time.thread_time()
        loaded.model(input_ids=ids, attention_mask=mask)
        return time.thread_time() - began

    share = int(lengths.sum()) / ids.numel()
    kinds = {
        "all tokens are read": (None, whole),
        "the first of each text is read": ([0] * TEXTS, whole),
        f"{1 - share:.0%} of the tokens are padding": (None, padded),
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, (places, mask) in kinds.items():
            seconds[name].append(taken(places, mask))
    table = Table("batch of which", "median ms", "least ms", "as fast, by least")
    fastest = min(seconds["all tokens are read"])
    for name, values in seconds.items():
        numbers = (f"{1000 * median(values):.0f}", f"{1000 * min(values):.0f}", f"{fastest / min(values):.3f}")
        table.add_row(name, *numbers)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
