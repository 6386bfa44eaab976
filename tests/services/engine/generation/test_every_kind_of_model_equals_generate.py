import asyncio
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.generation.building.parts import Parts
from services.engine.generation.requests.request import BeamParameters
from services.engine.loading import load_language_model
from tests.drawn import drawn
from tests.services.bench import Bench, Result, bench_of, parts_of
from tests.services.engine.generation.own_generate import own_generate, own_model, reads_by_an_encoder, write
from tests.tiny.language_models import ENCODER_DECODERS, SERIAL_ENCODER_DECODERS, STATEFUL

WAYS = [
    *((name, True) for name in STATEFUL),
    *((name, False) for name in ENCODER_DECODERS),
    *((name, True) for name in ["bart", "t5", *SERIAL_ENCODER_DECODERS]),
]
"""Model names, and whether the serial runner runs their rows one by one."""
PROMPTS = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 4), (5, 24), (11, 37), (17, 12))]
NEW_TOKENS = 12
OPTIONS = {"no_repeat_ngram_size": 2}
SAMPLED = {"temperature": 1.3, "top_p": 0.95, "repetition_penalty": 1.1, "max_new_tokens": NEW_TOKENS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = write(tmp_path_factory.mktemp(name), name)
        return made[name]

    return folder


class Model:
    """One checkpoint on one path (paged or serial), which makes engines of the sizes that tests ask for."""

    def __init__(self, folder: Path, name: str, serial: bool) -> None:
        self.name = name
        self.folder = folder
        self.serial = serial
        self.start: list[int] = []
        self.benches: list[Bench] = []

    @cached_property
    def parts(self) -> Parts:
        """The parts that all its engines share, loaded once: a sequence must see no state of earlier ones."""
        loaded = load_language_model(str(self.folder), revision=None, device=torch.device("cpu"), dtype="auto")
        self.start = list(loaded.decoder_start_ids)
        return parts_of(loaded, serial=self.serial)

    def bench(self, **sizes: int) -> Bench:
        """Starts an engine. Only one of a model may run at a time."""
        self.benches.append(bench_of(self.parts, **sizes))
        return self.benches[-1]

    def ask(self, bench: Bench, prompt: list[int], **fields: Any) -> Any:
        """Returns an awaitable for the result of a request."""
        start, fields = self.asked(prompt, fields)
        return bench.run(start, **fields)

    def asked(self, prompt: list[int], fields: dict[str, Any]) -> tuple[list[int], dict[str, Any]]:
        """Returns the engine's prompt and fields: an encoder-decoder gets the prompt as `source`."""
        return (self.start, fields | {"source": prompt}) if reads_by_an_encoder(self.name) else (prompt, fields)


@pytest.fixture(scope="module", params=drawn(WAYS, 3), ids=lambda way: f"{way[0]}-{'serial' if way[1] else 'paged'}")
def model(request: pytest.FixtureRequest, folders: Callable[[str], Path]) -> Iterator[Model]:
    name, serial = request.param
    model = Model(folders(name), name, serial)
    yield model
    for bench in model.benches:
        bench.engine.close()


async def test_requests_that_join_and_leave_continue_as_generate(model: Model) -> None:
    bench = model.bench(max_sequences=3, prefill_tokens=7)
    results: list[Result] = await asyncio.gather(
        *(
            model.ask(bench, prompt, max_new_tokens=NEW_TOKENS - i, logprob_count=0, **OPTIONS)
            for i, prompt in enumerate(PROMPTS)
        )
    )
    for i, (prompt, result) in enumerate(zip(PROMPTS, results, strict=True)):
        own = own_generate(model.folder, model.name, prompt, NEW_TOKENS - i, **OPTIONS)
        assert result.ids == own.ids
        likely = torch.log_softmax(own.logits, dim=-1)
        for place, entry in enumerate(result.logprobs):
            assert entry.logprob == pytest.approx(float(likely[place, entry.token_id]), abs=1e-3)
        assert result.completed.input_token_count == len(prompt)
        assert result.completed.output_token_count == NEW_TOKENS - i
    assert bench.idle


async def test_draws_do_not_depend_on_neighbours_nor_on_preemption(model: Model) -> None:
    roomy, tight = model.bench(), model.bench(pages=9)
    # More than one page of output, so that pages run out during decoding.
    asked = [(prompt, {**SAMPLED, "seed": i, "max_new_tokens": 20}) for i, prompt in enumerate(PROMPTS)]
    alone = [(await model.ask(roomy, prompt, **fields)).ids for prompt, fields in asked]
    together = await asyncio.gather(*(model.ask(roomy, prompt, **fields) for prompt, fields in asked))
    assert [result.ids for result in together] == alone
    preempted = await tight.run_all(*(model.asked(prompt, fields) for prompt, fields in asked))
    assert [result.ids for result in preempted] == alone
    assert tight.metric("preemptions_total") > 0
    assert tight.idle


@pytest.mark.parametrize(
    "fields", [{"max_new_tokens": NEW_TOKENS, **OPTIONS}, {**SAMPLED, "seed": 4}], ids=["greedy", "drawn"]
)
async def test_a_resume_from_anywhere_equals_what_was_not_interrupted(model: Model, fields: dict[str, Any]) -> None:
    bench = model.bench(max_sequences=4, prefill_tokens=11)
    whole = await model.ask(bench, PROMPTS[1], **fields)
    cuts = (0, 1, 5, len(whole.ids) - 1)
    rests = await asyncio.gather(
        *(model.ask(bench, PROMPTS[1], delivered=tuple(whole.ids[:k]), **fields) for k in cuts)
    )
    for k, rest in zip(cuts, rests, strict=True):
        assert whole.ids[:k] + rest.ids == whole.ids
        assert rest.completed.output_token_count == len(whole.ids)


async def test_beams_find_what_generate_finds(model: Model) -> None:
    bench = model.bench(max_sequences=4)
    beams = BeamParameters(3, length_penalty=1.2)
    options = {"max_new_tokens": 8, "no_repeat_ngram_size": 2}
    found = await asyncio.gather(
        *(model.ask(bench, prompt, beams=beams, candidate_count=2, **options) for prompt in PROMPTS[:2])
    )
    for prompt, result in zip(PROMPTS, found, strict=False):
        own, ids = own_model(model.folder, model.name), torch.tensor([prompt])
        wanted = own.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=3, num_return_sequences=2,
            length_penalty=1.2, min_new_tokens=8, **options,
        )  # fmt: skip
        assert [[*candidate.token_ids] for candidate in result.candidates] == wanted[:, -8:].tolist()
    assert bench.idle


async def test_candidates_go_on_from_one_prompt_by_themselves(model: Model) -> None:
    bench = model.bench()
    fields = {"temperature": 6.0, "seed": 3, "max_new_tokens": NEW_TOKENS}
    (alone,) = (await model.ask(bench, PROMPTS[1], **fields)).candidates
    several = await model.ask(bench, PROMPTS[1], candidate_count=3, **fields)
    assert several.candidates[0].token_ids == alone.token_ids
    assert len({candidate.token_ids for candidate in several.candidates}) == 3
    held = tuple(candidate.token_ids[:k] for candidate, k in zip(several.candidates, (3, 0, 7), strict=True))
    rest = await model.ask(bench, PROMPTS[1], candidate_count=3, delivered_each=held, **fields)
    for candidate, before, after in zip(several.candidates, held, rest.candidates, strict=True):
        assert before + after.token_ids == candidate.token_ids
    assert bench.idle


async def test_the_prompt_of_a_decoder_is_scored(model: Model) -> None:
    if reads_by_an_encoder(model.name):
        return
    bench = model.bench(prefill_tokens=24)
    prompt = PROMPTS[2]
    result = await model.ask(bench, prompt, max_new_tokens=2, prompt_logprob_count=1)
    with torch.inference_mode():
        logits = own_model(model.folder, model.name)(input_ids=torch.tensor([prompt])).logits[0].float()
    likely = torch.log_softmax(logits, dim=-1)
    assert [entry.token_id for entry in result.prompt_logprobs] == prompt
    for place, entry in enumerate(result.prompt_logprobs[1:]):
        assert entry.logprob == pytest.approx(float(likely[place, prompt[place + 1]]), abs=1e-3)
    assert bench.idle


def test_the_oracle_tells_outputs_apart(model: Model) -> None:
    """A model whose output does not depend on its input would make the tests above worthless."""
    first, second = (own_generate(model.folder, model.name, prompt, 8) for prompt in PROMPTS[:2])
    assert not torch.allclose(first.logits, second.logits, atol=1e-2)
    assert own_model(model.folder, model.name).config.is_encoder_decoder == reads_by_an_encoder(model.name)
