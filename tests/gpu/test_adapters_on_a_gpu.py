"""Streams with different adapters share recorded steps, and get the same as with each adapter alone."""

import asyncio
from pathlib import Path
from typing import Any

from tests.gpu.conftest import GPU, PROMPTS, Start
from tests.tiny.adapted import NAMES, adapted


async def test_steps_of_adapters_are_shared_and_launched_ahead(tmp_path: Path, start: Start) -> None:
    known = adapted(tmp_path)
    loaded = known.load(device=GPU)
    bench = start(loaded)
    assert loaded.adapters is not None
    assert loaded.adapters.joined
    ahead, launch = set[str](), bench.launcher.launch

    def noted(rows: Any, after: Any = None) -> Any:
        step = launch(rows, after)
        if step is not None and after is not None:
            ahead.update(row.sequence.adapter for row in rows)
        return step

    bench.launcher.launch = noted
    asked = [(name, prompt) for prompt in PROMPTS[2:4] for name in NAMES]
    found = await asyncio.gather(*(bench.run(prompt, max_new_tokens=8, adapter=name) for name, prompt in asked))
    for result, (name, prompt) in zip(found, asked, strict=True):
        expected = known.generated(name, prompt)  # which ends at a token that ends nothing here
        assert [*result.ids][: len(expected)] == expected, name
    assert ahead == {*NAMES}
