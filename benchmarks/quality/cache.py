"""`python -m benchmarks.quality.cache [MODEL]`: perplexity and greedy agreement with an 8-bit KV cache.

Uses the held-out conversations of the embedded chat model by default; needs no network and no GPU.
"""

import sys
from itertools import islice
from typing import Any

import torch

from benchmarks.quality.conversations import CHAT, conversations
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel, load_language_model

_EVERY = 10
"""Every tenth conversation is used: attention is slow without the native library."""


def texts_of(loaded: LoadedModel) -> list[tuple[list[int], int]]:
    """Returns the tokens of each conversation, and how many of them are the prompt."""
    tokenizer: Any = loaded.tokenizer
    found: list[tuple[list[int], int]] = []
    for prompt, answer in islice(conversations(tokenizer), 0, None, _EVERY):
        asked = tokenizer.encode(prompt, add_special_tokens=False)
        found.append((asked + tokenizer.encode(answer, add_special_tokens=False), len(asked)))
    return found


@torch.inference_mode()
def logits_of(parts: Parts, tokens: list[int]) -> torch.Tensor:
    """Returns the logits after each token."""
    sequence = CachedTokens(tokens)
    parts.pool.grow(sequence.pages, len(tokens))
    try:
        return parts.runner.run([Row(sequence, len(tokens), scored=len(tokens) - 1)])
    finally:
        parts.pool.release(sequence.pages)


def main(model: str = str(CHAT)) -> None:
    """Prints a line for each KV cache dtype."""
    found: list[tuple[float, int, list[list[int]]]] = []
    for narrow in (False, True):
        loaded = load_language_model(model, revision=None, device=torch.device("cpu"), dtype="auto")
        texts = texts_of(loaded)
        parts = paged_parts(loaded, EngineSettings(narrow_cache=narrow))
        loss, count, chosen = 0.0, 0, list[list[int]]()
        for tokens, asked in texts:
            logits = logits_of(parts, tokens)[asked - 1 : -1]
            answer = torch.tensor(tokens[asked:])
            loss += float(torch.nn.functional.cross_entropy(logits, answer, reduction="sum"))
            count += len(answer)
            chosen.append(logits.argmax(dim=-1).tolist())
        found.append((loss, count, chosen))
    wide = found[0][2]
    for name, (loss, count, chosen) in zip(("auto", "fp8_e4m3"), found, strict=True):
        same = sum(a == b for own, other in zip(wide, chosen, strict=True) for a, b in zip(own, other, strict=True))
        perplexity = torch.tensor(loss / count).exp().item()
        print(f"{name:9} perplexity {perplexity:.4f}, the likeliest token as without in {same / count:.2%} of {count}")


if __name__ == "__main__":
    main(*sys.argv[1:])
