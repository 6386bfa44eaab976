"""Static batches in process, by transformers' pipeline: `python -m benchmarks.speech.pipeline_batches --model DIR`.

Prints wall-clock and CPU seconds for all recordings, once for each round.
"""

import argparse
import time
from typing import Any

import torch
from transformers import pipeline

from benchmarks.speech.recordings import recordings, samples


def main() -> None:
    """Transcribes all recordings for the given number of rounds, after a short warm-up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ask: Any = pipeline("automatic-speech-recognition", model=options.model, dtype=getattr(torch, options.dtype))
    told: dict[str, Any] = {"batch_size": options.batch}
    if options.tokens:
        told["generate_kwargs"] = {
            "language": "en", "task": "transcribe", "num_beams": 1, "max_new_tokens": options.tokens,
        }  # fmt: skip
    files = recordings(options.count)
    ask([samples(file) for file in files[:2]], **told)
    for _ in range(options.rounds):
        clock, processor = time.perf_counter(), time.process_time()
        ask([samples(file) for file in files], **told)
        print(time.perf_counter() - clock, time.process_time() - processor, flush=True)


if __name__ == "__main__":
    main()
