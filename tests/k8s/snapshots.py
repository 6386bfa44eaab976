"""`python -m tests.k8s.snapshots` writes what each overlay renders to: a review sees what a change does to it."""

from pathlib import Path

from tests.k8s.rendering import OVERLAYS, overlay

FOLDER = Path(__file__).parent / "snapshots"


def path_of(name: str) -> Path:
    """Returns where an overlay's snapshot lies."""
    return FOLDER / f"{name}.yaml"


def snapshot(name: str) -> str:
    """Returns what an overlay renders to, less rules and boards, which are files of k8s/monitoring themselves."""
    documents = overlay(name).split("\n---\n")
    return "\n---\n".join(each for each in documents if not any(mark in each for mark in _WRITTEN_ELSEWHERE))


_WRITTEN_ELSEWHERE = ("\nkind: PrometheusRule\n", "\n    grafana_dashboard: ")


def main() -> None:
    """Writes one for each overlay, and removes those of overlays that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for stale in {*FOLDER.glob("*.yaml")} - {path_of(name) for name in OVERLAYS}:
        stale.unlink()
    for name in OVERLAYS:
        path_of(name).write_text(snapshot(name))


if __name__ == "__main__":
    main()
