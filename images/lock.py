"""`make image-locks` writes what the images install, by version, as pip resolves pyproject.toml today.

Run it with the images' version of Python, and for CUDA with an index that has such builds of torch, as PyPI has.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
PYTHON = (3, 11)
"""That of the images' Debian."""
ROOT = FOLDER.parent


def main() -> None:
    """Writes the three files."""
    if sys.version_info[:2] != PYTHON:
        sys.exit(f"the images have Python {'.'.join(map(str, PYTHON))}, and this is {sys.version.split()[0]}")
    _write(FOLDER / "gateway/requirements.txt", _resolved(".[gateway,tracing]"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (torch,) = (line for line in extras["dev"] if line.startswith("torch=="))
    services = _resolved(".[engine,tracing]", torch)
    cuda = any(name.startswith("nvidia-") for name in services)
    _write(FOLDER / f"services/requirements-{'cuda' if cuda else 'cpu'}.txt", services)
    if cuda:
        print(
            "This index gave torch for CUDA; for the CPU's file name one without: PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS."
        )
    else:
        print("This index gave torch for the CPU; for CUDA's file run again with PyPI alone.")


def _resolved(*requirements: str) -> dict[str, str]:
    """Returns versions by name, without this project's own."""
    command = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", *requirements]
    done = subprocess.run(  # noqa: S603 - this file's own words
        [sys.executable, "-m", "pip", *command], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    found = (entry["metadata"] for entry in json.loads(done.stdout)["install"])
    versions = {re.sub(r"[-_.]+", "-", each["name"]).lower(): each["version"].partition("+")[0] for each in found}
    del versions["sensorium"]
    return versions


def _write(path: Path, versions: dict[str, str]) -> None:
    lines = ["# Written by `make image-locks`.", *(f"{name}=={version}" for name, version in sorted(versions.items()))]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.relative_to(ROOT)}: {len(versions)} packages")


if __name__ == "__main__":
    main()
