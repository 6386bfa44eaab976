"""Everything that is rendered and judged: each overlay, and each component alone."""

import copy
import functools

import yaml

from tests.k8s.manifests import Manifest
from tests.k8s.rendering import COMPONENTS, OVERLAYS, component, overlay

VARIANTS = [*(f"overlays/{name}" for name in OVERLAYS), *(f"components/{name}" for name in COMPONENTS)]


def objects_of(variant: str) -> list[Manifest]:
    """Returns the objects of one of them: a copy, which a test may change."""
    return copy.deepcopy(_parsed(variant))


@functools.cache
def _parsed(variant: str) -> list[Manifest]:
    kind, _, name = variant.partition("/")
    return parsed(overlay(name) if kind == "overlays" else component(name))


def parsed(text: str) -> list[Manifest]:
    """Returns the objects of a stream of YAML."""
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
