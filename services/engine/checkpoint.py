"""Loads a checkpoint's configuration, tokenizer and model onto a device, in the dtype asked for.

Only safetensors are read and none of the checkpoint's code is run, unless the operator allows it.
"""

import hashlib
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.utils.hub import cached_file
from transformers.utils.import_utils import is_peft_available

from services.engine.adapters.adapter import Adapter, AdapterPlace
from services.engine.adapters.configuration import CONFIG
from services.engine.adapters.head import adapt
from services.engine.adapters.merging import merge
from services.engine.adapters.rounding import rounded_before
from services.engine.device.arithmetic import emulated
from services.engine.failed_load import explain
from services.engine.file_weights import copy_from_files
from services.engine.kept_state import keep_nothing
from services.engine.narrow.model import narrow_weights, unsuitable
from services.engine.narrow.numbers import NARROW_KINDS, NarrowKind
from services.engine.parallel.narrow_reading import NarrowConfig
from services.engine.quantization import own_quantization, quantization_config, unloadable

log = logging.getLogger(__name__)


class ModelRefused(Exception):
    """The checkpoint cannot be served here. The message says why and what to do."""


MODEL_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the code of a model or a processor may raise on inputs or files that it was not written for."""


@dataclass(frozen=True)
class Trust:
    """What of a checkpoint an operator trusts."""

    remote_code: bool = False
    """Run the code that comes with it."""
    pickled_weights: bool = False
    """Unpickle its weights where it has none in safetensors."""


TRUST_NOTHING = Trust()


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint is and how it is to be loaded."""

    source: str
    """A folder, or an id on the hub."""
    device: torch.device
    revision: str | None = None
    """Commit, branch or tag on the hub."""
    dtype: str = "auto"
    """The name of a torch dtype, or `auto` for the checkpoint's own."""
    quantization: str = "none"
    """See ModelSettings."""
    trust: Trust = TRUST_NOTHING
    subfolder: str = ""
    """Where in the checkpoint the model is, if not at its root."""
    rank_count: int = 1
    """How many processes hold a part of it each; `device` is this process's."""
    adapter: Adapter | None = None
    """What is merged into its weights."""
    convolving: bool = False
    """Whether the model may spend its time in convolutions: `auto` is then float32 where its own dtype is emulated."""

    @property
    def narrow(self) -> NarrowKind | None:
        """The 8-bit type that weights are rounded to once they are read; None: none."""
        return NARROW_KINDS.get(self.quantization)

    @property
    def shared(self) -> dict[str, Any]:
        """Keyword arguments of every `from_pretrained`: of configuration, weights, tokenizer and processor."""
        own = {"revision": self.revision, "trust_remote_code": self.trust.remote_code}
        return own | ({"subfolder": self.subfolder} if self.subfolder else {})

    def element_type(self, config: PretrainedConfig) -> torch.dtype:
        """Returns the dtype of the weights."""
        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        own: Any = getattr(config, "dtype", None) or torch.float32
        return torch.float32 if self.convolving and emulated(own, self.device) else own

    def quantized_by(self, config: PretrainedConfig) -> str:
        """Returns the quantization in force, the operator's or the checkpoint's own; empty where there is none."""
        return own_quantization(config) if self.quantization == "none" else self.quantization


def find_file(checkpoint: Checkpoint, name: str) -> Path | None:
    """Returns the local path of a file of a checkpoint, or None if it has none of that name."""
    found = cached_file(
        checkpoint.source,
        name,
        revision=checkpoint.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


@contextmanager
def refusals(source: str, part: str = "") -> Generator[None]:
    """Turns errors of reading `source` into ModelRefused; `part` is what messages call it, such as "The adapter "."""
    try:
        yield
    except (*MODEL_ERRORS, SafetensorError) as error:
        raise ModelRefused(f"{part}{source} cannot be loaded: {explain(source, error)}") from error


def read_config(checkpoint: Checkpoint) -> PretrainedConfig:
    """Returns the configuration.

    Raises:
        ModelRefused: its weights are quantized in a way that cannot be loaded here.
    """
    source, trust = checkpoint.source, checkpoint.trust
    both = source if checkpoint.adapter is None else f"{source} and {checkpoint.adapter.label}"
    if trust.remote_code:
        log.warning("Code that comes with %s may be run, with all rights of this process", both)
    if trust.pickled_weights:
        log.warning("Weights of %s may be unpickled, which runs what their maker put there", both)
    config = AutoConfig.from_pretrained(source, **checkpoint.shared)
    if reason := unloadable(config):
        raise ModelRefused(f"{source} cannot be loaded: {reason}")
    if checkpoint.adapter is not None:
        if reason := rounded_before(config, checkpoint.quantization, checkpoint.rank_count):
            raise ModelRefused(f"The adapter {checkpoint.adapter.label} cannot be merged into {source}: {reason}")
        with refusals(checkpoint.adapter.place.source, "The adapter "):
            adapt(config, checkpoint.adapter)
    return config


def read_tokenizer(checkpoint: Checkpoint) -> Any:
    """Returns the tokenizer: the adapter's, if it brings one, as it was trained with that."""
    adapter = checkpoint.adapter
    if adapter is None or not adapter.has_tokenizer:
        return AutoTokenizer.from_pretrained(checkpoint.source, **checkpoint.shared)
    remote_code = checkpoint.trust.remote_code
    return AutoTokenizer.from_pretrained(adapter.place.source, **adapter.place.shared, trust_remote_code=remote_code)


def read_model(
    checkpoint: Checkpoint, config: PretrainedConfig, kind: Any, unused: tuple[str, ...] = ()
) -> PreTrainedModel:
    """Returns the model, by the Auto class `kind`. Parts whose names begin with one of `unused` may lack weights.

    Raises:
        ModelRefused: other weights are missing, which transformers fills in with random ones.
    """
    return read_incomplete_model(checkpoint, config, kind, unused)[0]


def read_incomplete_model(
    checkpoint: Checkpoint, config: PretrainedConfig, kind: Any, optional: tuple[str, ...]
) -> tuple[PreTrainedModel, list[str]]:
    """Returns the model as `read_model` does, and the names of the missing weights, which are random."""
    dtype, kind_of_weights = checkpoint.element_type(config), checkpoint.narrow
    if kind_of_weights and (reason := unsuitable(kind_of_weights, checkpoint.device)):
        raise ModelRefused(f"{checkpoint.source} cannot be loaded: {reason}")
    _refuse_peft(checkpoint)
    if checkpoint.dtype == "auto" and dtype is not (own := getattr(config, "dtype", None) or dtype):
        told = str(own).removeprefix("torch.")
        log.info("this processor only emulates %s: the weights are read as float32; --dtype %s keeps them", told, told)
    # Its declared type leaves out what `output_loading_info` adds.
    pair: Any = kind.from_pretrained(
        checkpoint.source,
        **checkpoint.shared,
        dtype=dtype,
        quantization_config=_quantization(checkpoint, dtype),
        **_placement(checkpoint, "cpu" if kind_of_weights else checkpoint.device),
        use_safetensors=None if checkpoint.trust.pickled_weights else True,
        output_loading_info=True,
        # An adapter may bring another head than the model's files.
        **({"config": config, "ignore_mismatched_sizes": True} if checkpoint.adapter else {}),
    )
    model, found = pair
    copy_from_files(model)
    lacking = _merged(checkpoint, model, found)
    if missing := [name for name in lacking if not name.startswith(optional)]:
        raise ModelRefused(f"{checkpoint.source} lacks {len(missing)} of the model's weights, such as {min(missing)}.")
    if kind_of_weights and checkpoint.rank_count == 1:
        narrow_weights(model, kind_of_weights, checkpoint.device)
    keep_nothing(model)
    return model, lacking


def _refuse_peft(checkpoint: Checkpoint) -> None:
    """Refuses an adapter in the model's own folder where PEFT is installed: transformers would load it unasked."""
    beside = AdapterPlace(checkpoint.source, checkpoint.subfolder, checkpoint.revision)
    if is_peft_available() and beside.find(CONFIG):
        raise ModelRefused(
            f"{checkpoint.source} holds an adapter beside a model, and peft is installed, by which transformers loads "
            f"it unasked. Uninstall peft, or take {CONFIG} out of there; --adapter merges it without peft."
        )


def _merged(checkpoint: Checkpoint, model: PreTrainedModel, found: dict[str, Any]) -> list[str]:
    """Merges the adapter, if there is one, and returns the names of the weights that are still missing."""
    lacking = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    if checkpoint.adapter is not None:
        try:
            lacking -= merge(checkpoint.adapter, model)
        except (*MODEL_ERRORS, SafetensorError) as error:
            told = f"The adapter {checkpoint.adapter.label} cannot be merged into {checkpoint.source}"
            raise ModelRefused(f"{told}: {error}") from error
        log.info("the adapter %s was merged into %s", checkpoint.adapter.label, checkpoint.source)
    return sorted(lacking)


def _quantization(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """Returns how transformers quantizes while it reads; with several ranks, 8-bit weights are rounded there too."""
    if checkpoint.narrow and checkpoint.rank_count > 1:
        return NarrowConfig(checkpoint.narrow)
    return quantization_config(checkpoint.quantization, dtype)


def _placement(checkpoint: Checkpoint, device: torch.device | str) -> dict[str, Any]:
    """Returns where weights go: to `device`, or, with several ranks, divided by the model's tensor-parallel plan."""
    if checkpoint.rank_count == 1:
        return {"device_map": {"": device}}
    return {"distributed_config": DistributedConfig(tp_size=checkpoint.rank_count)}


def revision_of(checkpoint: Checkpoint) -> str:
    """Returns the hub commit, or a digest over the configuration and the weights of a folder.

    The revision of a merged adapter follows after a `+`.
    """
    own = _own_revision(checkpoint)
    return own if checkpoint.adapter is None else f"{own}+{checkpoint.adapter.revision}"


def _own_revision(checkpoint: Checkpoint) -> str:
    folder = Path(checkpoint.source)
    if not folder.is_dir():
        found = find_file(checkpoint, "config.json")
        # The hub's cache keeps files by commit: snapshots/COMMIT/config.json.
        return found.parent.name if found is not None else ""
    digest = hashlib.sha256()
    weights = [*folder.glob("*.safetensors")] or [*folder.glob("*.bin")]
    for path in sorted([folder / "config.json", *weights]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256-{digest.hexdigest()[:16]}"
