"""The command line shared by the folders of recipes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path

from transformers.utils import logging as transformers_logging

from models.recipes.placement import MODELS


def make_models(package: str, about: str | None, names: Collection[str], make: Callable[[str, Path], None]) -> None:
    """Makes the models named on the command line, or all of `names`, each in its folder below the given root."""
    parser = argparse.ArgumentParser(prog=f"python -m models.recipes.{package}", description=about)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which models: {', '.join(names)}; all by default")
    parser.add_argument("--output", type=Path, default=MODELS, help="folder of the models' folders")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    transformers_logging.disable_progress_bar()
    for name in options.names or names:
        make(name, options.output)
