"""Static batches of texts in process, by ONNX Runtime in float32. Runs as a script in that peer's environment.

Prints items per second. The graph is exported once and optimized for BERT by ONNX Runtime's own tool.
"""

import argparse
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-not-found] - which only the peer's environment has
import torch
from transformers import AutoModel, AutoTokenizer

BATCH, WORDS = 32, 30


class States(torch.nn.Module):
    """Wraps a model to return only its last hidden states."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Returns `[texts, tokens, width]`."""
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state


def main() -> None:
    """Exports the model if needed, and runs batches for the time asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    options_of_session = onnxruntime.SessionOptions()
    options_of_session.intra_op_num_threads = options_of_session.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(exported(Path(options.model))), options_of_session, providers=["CPUExecutionProvider"]
    )
    names = {given.name for given in session.get_inputs()}
    tokenizer: Any = AutoTokenizer.from_pretrained(options.model)
    known = [word for word in tokenizer.get_vocab() if len(word) == 3 and word.isalpha()]

    def run(number: int) -> list[list[float]]:
        chance = random.Random(number)
        texts = [" ".join(chance.choices(known, k=WORDS)) for _ in range(BATCH)]
        inputs = tokenizer(texts, padding=True, return_tensors="np")
        states = session.run(None, {name: value for name, value in inputs.items() if name in names})[0]
        means = states.mean(1)
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).tolist()

    run(0)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + options.seconds:
        run(count + 1)
        count += 1
    print(f"{count * BATCH / (time.perf_counter() - begin):.2f}", flush=True)


def exported(folder: Path) -> Path:
    """Returns the path of the model's optimized graph in float32."""
    path, plain = folder / "optimized.onnx", folder / "model.onnx"
    if path.exists():
        return path
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        States(model),
        (ids, ids),
        str(plain),
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "last_hidden_state": axes},
        dynamo=False,
        opset_version=17,
    )
    from onnxruntime.transformers.optimizer import optimize_model  # type: ignore[import-not-found]

    optimized = optimize_model(str(plain), model_type="bert", num_heads=12, hidden_size=768)
    print(optimized.get_fused_operator_statistics())
    optimized.save_model_to_file(str(path))
    return path


if __name__ == "__main__":
    main()
