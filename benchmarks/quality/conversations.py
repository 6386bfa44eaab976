"""Reads the held-out conversations of the embedded chat model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHAT = Path(__file__).parents[2] / "models" / "chat"


def conversations(tokenizer: Any, folder: Path = CHAT) -> Iterator[tuple[str, str]]:
    """Yields (prompt text by the chat template, right answer) for each line of `held_out.jsonl`."""
    for line in (folder / "held_out.jsonl").read_text().splitlines():
        _, said, answer = json.loads(line)
        turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
        yield tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), answer
