"""Runs transformers' `generate` in its own process: reads batches and writes token times as lines of JSON."""

import argparse
import json
import sys
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM


class _Clock:
    """Records the end time of each step: a stopping criterion, since those are called once per step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        self.times.append(time.perf_counter())
        return torch.zeros(ids.shape[0], dtype=torch.bool)


def main() -> None:
    """Answers each batch on standard input with its token times, on the machine's monotonic clock."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(parser.parse_args().model)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        batch = json.loads(line)
        ids, clock = torch.tensor(batch["prompts"]), _Clock()
        with torch.inference_mode():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=batch["new_tokens"],
                do_sample=False,
                stopping_criteria=[clock],
            )
        print(json.dumps({"times": clock.times}), flush=True)


if __name__ == "__main__":
    main()
