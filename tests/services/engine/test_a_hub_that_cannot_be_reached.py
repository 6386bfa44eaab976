"""Libraries try each file of a model for long; that nothing answers is found out before."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from services.engine import hub
from services.engine.checkpoint import ModelRefused
from services.engine.loading import load_language_model
from services.process import checkpoint_of
from services.text.config import TextSettings

SETTINGS = TextSettings(model="acme/llama", device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub, which is looked for on this machine."""
    monkeypatch.setattr(hub, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A hub that breaks all connections but the third, which it refuses in HTTP; what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while len(asked) < 3:
                connection, _ = server.accept()
                with connection:
                    asked.append(connection.recv(4096))
                    if len(asked) == 3:
                        connection.sendall(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield asked
        thread.join(20)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("nobody")
def test_a_model_that_is_nowhere_is_refused_with_what_to_do(cache: Path) -> None:
    with pytest.raises(ModelRefused) as refused:
        checkpoint_of(SETTINGS)
    for told in ("acme/llama", str(cache), constants.ENDPOINT, "HF_ENDPOINT", "folder"):
        assert told in str(refused.value)
    assert not constants.is_offline_mode()


@pytest.mark.usefixtures("nobody")
def test_one_that_the_cache_holds_is_read_from_it(cache: Path, llama_folder: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(llama_folder, cache / "models--acme--llama" / "snapshots" / commit)
    checkpoint = checkpoint_of(SETTINGS)
    assert constants.is_offline_mode()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert load_language_model("acme/llama", revision=commit, device=checkpoint.device, dtype="auto")


@pytest.mark.usefixtures("nobody")
def test_a_folder_needs_no_hub(llama_folder: Path) -> None:
    assert checkpoint_of(TextSettings(model=str(llama_folder), device="cpu"))
    assert not constants.is_offline_mode()


def test_a_hub_that_answers_at_last_is_left_to_the_library(dropped: list[bytes]) -> None:
    hub.require_hub(SETTINGS.model)
    assert [request[:4] for request in dropped] == [b"HEAD"] * 3
    assert not constants.is_offline_mode()
