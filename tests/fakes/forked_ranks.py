"""Forked ranks, in place of processes that import torch and transformers anew."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from services.engine.parallel import followers
from tests.forks import Forked


@contextmanager
def forked_ranks() -> Generator[None]:
    """Inside, a first rank forks the others."""
    own = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(followers, "subprocess", own)
        yield
