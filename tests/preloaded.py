"""Imported by the fork server of the workers: what many tests import. As in a test, a warning of it is an error."""

import importlib
import tomllib
import warnings
from pathlib import Path

from _pytest.config import parse_warning_filter

from local import nursery

TESTS = Path(__file__).parent
SHARED = [
    *nursery._PRELOADED[1:-1],
    *(f"tests.tiny.{path.stem}" for path in sorted(TESTS.glob("tiny/*.py"))),
    *("tests.vowels", "tests.k8s.monitoring.known", "models.recipes.vision.digit_images"),
]

with (TESTS.parent / "pyproject.toml").open("rb") as file:
    filters = tomllib.load(file)["tool"]["pytest"]["ini_options"]["filterwarnings"]
with warnings.catch_warnings():
    for each in filters:
        warnings.filterwarnings(*parse_warning_filter(each, escape=False))
    for module in SHARED:
        importlib.import_module(module)
