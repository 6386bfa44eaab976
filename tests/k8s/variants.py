"""Everything that is rendered and judged: each overlay, and each component alone."""

from tests.k8s.rendering import COMPONENTS, OVERLAYS, Manifest, component, overlay

VARIANTS = [*(f"overlays/{name}" for name in OVERLAYS), *(f"components/{name}" for name in COMPONENTS)]


def objects_of(variant: str) -> list[Manifest]:
    """Returns the objects of one of them, anew each time, so that a test may change them."""
    kind, _, name = variant.partition("/")
    return overlay(name) if kind == "overlays" else component(name)
