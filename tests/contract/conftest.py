"""Fixtures: the contract as it is in this checkout."""

from pathlib import Path

import pytest

from protos.generate import descriptor_set
from tests.contract.elements import Contract


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    output: Path = tmp_path_factory.mktemp("contract") / "current.binpb"
    descriptor_set(output)
    return Contract.read(output)
