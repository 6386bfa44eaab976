"""Rows with and without adapters in one native call, on each kind of processor that the library is compiled for."""

import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from services.engine.acceleration import replacement
from services.engine.adapters import beside
from services.engine.device.memory import MemoryReading
from services.engine.fusion.decoder import FusedDecoderLayer
from services.engine.fusion.low_ranks import LowRanks
from services.engine.generation.building import parts, whole_forward
from services.engine.generation.building.adapter_check import verify_adapters
from services.engine.generation.building.build import paged_parts, probe_layouts
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.building.verified_runner import verified_runner
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel, load_language_model
from services.engine.native.library import Library
from tests.services.engine.native.instruction_sets import LIBRARIES
from tests.tiny.adapted import LAYERS, Adapted, adapted
from tests.tiny.adapters import WEIGHTS, add_beside, factors, write_adapter

CPU, PAGES, PAGE_SIZE = torch.device("cpu"), 64, 16
NAMES = ("part", "", "large", "root", "wide", "", "large")
LENGTHS = (5, 24, 100, 9, 13, 40, 1)
PROMPTS = [torch.randint(320, (n,), generator=torch.Generator().manual_seed(n)).tolist() for n in LENGTHS]
SCORED = (0, 3, 90, 0, 0, 39, 0)
Models = Callable[[str], Adapted]
Expected = Callable[[str], Tensor]
libraries = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES.keys())


@pytest.fixture(autouse=True)
def known_to_pay(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in (replacement, parts, whole_forward):
        monkeypatch.setattr(user, "load_library", lambda: library)
    monkeypatch.setattr(library, "linear_pays", dict.fromkeys(library.linear_pays, True))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Returns models with one more adapter, whose rank needs several panels of the library; each is written once."""

    @cache
    def made(model: str) -> Adapted:
        folder = tmp_path_factory.mktemp(model)
        known = adapted(folder, model)
        plain: Any = known.own[""]
        known.places["large"] = str(write_adapter(folder / "large", known.base, factors(plain, *LAYERS, rank=36), r=36))
        known.own["large"] = AutoModelForCausalLM.from_pretrained(known.base, dtype=torch.float32).eval()
        add_beside(known.own["large"], folder / "large", {"": 6 / 36})
        return known

    return made


@pytest.fixture(scope="module")
def expected(models: Models) -> Expected:
    """Returns the logits of the rows, as the reference models compute them."""

    @cache
    def computed(model: str) -> Tensor:
        logits = [models(model).logits(name, prompt) for name, prompt in zip(NAMES, PROMPTS, strict=True)]
        return torch.cat([torch.cat([own[:scored], own[-1:]]) for own, scored in zip(logits, SCORED, strict=True)])

    return computed


def runner_of(loaded: LoadedModel) -> tuple[ModelRunner, list[Row[CachedTokens]]]:
    """Returns a runner, and rows, some with several logits. Rows of the same adapter are not adjacent."""
    pool = PagePool(PAGES, PAGE_SIZE)
    runner = verified_runner(loaded, KVCache(probe_layouts(loaded), PAGES, PAGE_SIZE, CPU), pool)
    rows: list[Row[CachedTokens]] = []
    for name, prompt, scored in zip(NAMES, PROMPTS, SCORED, strict=True):
        sequence = CachedTokens([*prompt], adapter=name)
        pool.grow(sequence.pages, len(prompt))
        rows.append(Row(sequence, len(prompt), scored=scored))
    return runner, rows


@libraries
def test_a_step_is_one_call(
    library: Library, models: Models, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = models("llama")
    loaded = known.load()
    runner, rows = runner_of(loaded)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_forward", None)
        found = runner.run(rows)
        alone = torch.cat([runner.run([row]) for row in rows])
    torch.testing.assert_close(found, expected("llama"), rtol=1e-4, atol=2e-4)
    assert torch.equal(found, alone)
    unread = runner.run([Row(row.sequence, 1) for row in rows[2:4]])  # like a chunk of a prompt that is not the last
    assert len(unread) == 0


@libraries
@pytest.mark.parametrize("model", ["llama", "gemma3"])
def test_so_it_is_layer_by_layer_and_apart(library: Library, model: str, models: Models, expected: Expected) -> None:
    """The library's whole decoder does not support Gemma, whose fused layers still do."""
    known = models(model)
    loaded = known.load()
    runner, rows = runner_of(loaded)
    adapters, whole = loaded.adapters, runner.whole
    assert adapters is not None and adapters.grouped
    assert (whole is None) == (model == "gemma3")
    layers = [module for module in loaded.model.modules() if isinstance(module, FusedDecoderLayer)]
    called: list[object] = []
    for layer in layers:
        layer.register_forward_hook(lambda module, *_: called.append(module))
    together, runner.whole = runner.run(rows), None
    found = runner.run(rows)
    assert called == (layers if whole else [*layers, *layers])
    assert torch.equal(found, together)
    torch.testing.assert_close(found, expected(model), rtol=1e-3, atol=1e-3)

    def failing(*_: object) -> None:
        if adapters.grouped:
            raise RuntimeError("other logits")

    checked: Any = SimpleNamespace(verify=failing)
    verify_adapters(loaded, checked, runner, PagePool(PAGES, PAGE_SIZE), 1e-3)
    assert not adapters.grouped
    torch.testing.assert_close(runner.run(rows), expected(model), rtol=1e-3, atol=1e-3)


@libraries
def test_in_bfloat16_rows_of_none_keep_their_bits_and_others_are_no_further_from_the_truth(
    library: Library, models: Models, expected: Expected
) -> None:
    known = models("llama")
    loaded = known.load("bfloat16")
    runner, rows = runner_of(loaded)
    plain, _ = runner_of(load_language_model(str(known.base), revision=None, device=CPU, dtype="bfloat16"))
    found, without = (each.run(rows).split([row.outputs for row in rows]) for each in (runner, plain))
    assert [torch.equal(*pair) for pair in zip(found, without, strict=True)] == [not name for name in NAMES]
    assert loaded.adapters is not None
    loaded.adapters.grouped = False
    truth, apart = expected("llama"), runner.run(rows)
    assert (torch.cat(found) - truth).norm() < 1.2 * (apart - truth).norm()


@libraries
def test_where_one_layer_is_not_fused_all_is_computed_apart(library: Library, models: Models) -> None:
    loaded = models("llama").load()
    decoder: Any = loaded.model.get_decoder()
    decoder.layers[1].input_layernorm.variance_epsilon = 3.0  # differs from the other norm's
    runner_of(loaded)
    assert loaded.adapters is not None and not loaded.adapters.grouped


@libraries
def test_none_is_added_once_layers_are_fused(library: Library, models: Models) -> None:
    loaded = models("llama").load()
    runner_of(loaded)
    assert loaded.adapters is not None
    with pytest.raises(RuntimeError, match="fused layers already"):
        loaded.adapters.add(beside.NamedAdapter("late", ""), {})


class Held:
    """Watches the memory of an adapted model's factors, from its load on."""

    def __init__(self, loaded: LoadedModel) -> None:
        assert loaded.adapters is not None
        self.adapters = loaded.adapters
        products = [one for layer in self.adapters.layers.values() for pair in layer.products.values() for one in pair]
        self._plain = [(weakref.ref(one.weight), one.weight.nbytes) for one in products]
        self.joined = 0

    @property
    def plain(self) -> int:
        """Bytes of factors that are not joined yet."""
        return sum(size for weight, size in self._plain if weight() is not None)

    def watch(self, monkeypatch: pytest.MonkeyPatch, at: Callable[[], None]) -> None:
        """Calls `at` whenever factors were joined, and counts their bytes."""
        put = LowRanks.put

        def counted(ranks: LowRanks, *given: Any) -> None:
            self.joined -= ranks.byte_count
            put(ranks, *given)
            self.joined += ranks.byte_count
            at()

        monkeypatch.setattr(LowRanks, "put", counted)


@libraries
def test_memory_holds_factors_once(library: Library, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors are not padded before they are joined, and few are in memory twice while they are."""
    known = models("llama")
    loaded = known.load()
    held = Held(loaded)
    files = [load_file(Path(place, WEIGHTS)) for place in known.places.values()]
    whole = sum(tensor.nbytes for tensors in files for tensor in tensors.values())
    assert held.plain == held.adapters.byte_count == whole
    seen = [whole]
    held.watch(monkeypatch, lambda: seen.append(held.plain))
    runner_of(loaded)
    assert held.adapters.grouped and held.adapters.byte_count == held.joined
    assert seen == sorted(seen, reverse=True) and seen[-1] == 0
    assert len({*seen}) == len(seen), "each time that some are joined, memory lets go of as many"


@libraries
@pytest.mark.parametrize("packs", [True, False])
def test_where_factors_cannot_be_joined_rows_are_computed_apart(
    library: Library,
    packs: bool,
    models: Models,
    expected: Expected,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = models("llama")
    loaded = known.load()
    held, joined = Held(loaded), list[None]()

    def lacking(*_: object) -> None:
        joined.append(None)
        if len(joined) > 3:
            raise MemoryError("no room")

    held.watch(monkeypatch, lacking)
    if not packs:
        monkeypatch.setattr(beside, "NativeLinear", lacking)
    runner, rows = runner_of(loaded)
    assert not held.adapters.grouped
    told = ["could not be joined: no room"] + ([] if packs else ["could not be packed: no room"])
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [each.partition("their factors ")[2] for each in warnings] == told
    torch.testing.assert_close(runner.run(rows), expected("llama"), rtol=1e-4, atol=2e-4)


@libraries
def test_pages_are_planned_behind_what_factors_take(library: Library, models: Models) -> None:
    loaded = models("llama").load()
    held = Held(loaded)

    class Memory:
        """A machine with some memory beside the model, part of which the factors take."""

        measures = False

        def read(self) -> MemoryReading:
            return MemoryReading(4_000_000, 4_000_000 - held.plain - held.joined, 0)

        def peak(self, run: Callable[[], object]) -> int:
            raise AssertionError("nobody asks")

    with pytest.MonkeyPatch.context() as patch:
        held.watch(patch, lambda: None)
        parts = paged_parts(loaded, EngineSettings(max_sequences=1000), Memory())
    assert parts.memory is not None and held.adapters.grouped and held.plain == 0
    page_bytes = parts.memory.cache // parts.pool.page_count
    assert parts.pool.page_count == (4_000_000 - held.joined) // 4 // page_bytes
    footprint = loaded.model.get_memory_footprint()
    assert parts.memory.reading.held - held.joined > footprint  # the model's weights before fused layers took them over
