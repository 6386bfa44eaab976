"""Generates the Python stubs of the contract, by default into the checkout: `python protos/generate.py [OUTPUT]`.

`python protos/generate.py --release` also declares the contract as released: see protos/README.md.

The import path equals the proto path (`protos/sensorium/v1/text.proto` is `sensorium.v1.text_pb2`), so one protoc
command does it and nothing is rewritten afterwards.
"""

import argparse
import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
SOURCES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("sensorium/v1/*.proto"))
RELEASED = PROTOS / "released" / "v1.binpb"
"""Descriptor set of the last release, without comments. Breaking changes are judged against it."""


def generate(output: Path) -> None:
    """Writes `_pb2` and `_pb2_grpc` modules with their type stubs under `output`/sensorium/v1.

    Raises SystemExit with protoc's own words where protoc refuses the contract.
    """
    plugins = Path(sys.executable).parent
    _protoc(
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        *(f"--{kind}_out={output}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
    )


def descriptor_set(output: Path, *, comments: bool = True) -> None:
    """Writes the contract as one self-contained descriptor set to the file `output`.

    Raises SystemExit with protoc's own words where protoc refuses the contract.
    """
    _protoc("--include_imports", *(["--include_source_info"] if comments else []), f"--descriptor_set_out={output}")


def _protoc(*options: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *options, *SOURCES]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no outside input)
    if finished.returncode != 0:
        raise SystemExit(finished.stderr)


def main() -> None:
    """Runs the command line described above."""
    parser = argparse.ArgumentParser(description="Generates the Python stubs of the contract.")
    parser.add_argument("output", nargs="?", type=Path, default=PROTOS.parent, help="folder that gets sensorium/v1")
    parser.add_argument("--release", action="store_true", help="also writes protos/released/v1.binpb")
    arguments = parser.parse_args()
    generate(arguments.output)
    if arguments.release:
        descriptor_set(RELEASED, comments=False)


if __name__ == "__main__":
    main()
