"""Makes classes available that transformers hides where an optional package is not installed."""

import importlib
from contextlib import suppress
from typing import Any


def show_class(package: str, file: str, name: str) -> None:
    """Makes class `name` of a file of a model's package an attribute of `transformers` and of that package."""
    # Some versions have the class elsewhere, where it is not hidden, and some models use another model's class.
    with suppress(ImportError, AttributeError):
        found = getattr(model_file(package, file), name)
        # transformers replaces its own module while it is imported, so it is looked up each time.
        for shown_by in ("transformers", f"transformers.models.{package}"):
            setattr(importlib.import_module(shown_by), name, found)


def model_file(package: str, file: str) -> Any:
    """Returns the module of a file of a model's package in transformers. Raises ImportError."""
    return importlib.import_module(f"transformers.models.{package}.{file}")
