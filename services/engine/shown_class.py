"""Classes of transformers that its packages keep back from whoever lacks what their files import."""

import importlib
from contextlib import suppress
from typing import Any


def show_class(package: str, file: str, name: str) -> None:
    """Lets transformers and its package of a model give out a class that is in a file of that package."""
    # Of a version that has it elsewhere, and so gives it out, or of a model whose class is another's.
    with suppress(ImportError, AttributeError):
        found = getattr(model_file(package, file), name)
        # transformers is looked up each time: while it is imported it puts another module in its own place.
        for shown_by in ("transformers", f"transformers.models.{package}"):
            setattr(importlib.import_module(shown_by), name, found)


def model_file(package: str, file: str) -> Any:
    """Returns a file of transformers' package of a model. Raises ImportError."""
    return importlib.import_module(f"transformers.models.{package}.{file}")
