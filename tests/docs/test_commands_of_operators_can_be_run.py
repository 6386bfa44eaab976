"""The documented kubectl commands are valid: kubectl parses each until it fails to reach a cluster, and the objects
they name are rendered by the overlays.
"""

import functools
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gateway.config import GatewaySettings
from sensorium.cli.app import application
from sensorium.rpc.configuration import variable
from sensorium.rpc.logs import _Json
from services.text.config import TextSettings
from tests.e2e.processes import ROOT

PAGES = [ROOT / "docs/operation.md", *sorted((ROOT / "docs/runbooks").glob("*.md"))]
KINDS = {
    "deploy": "Deployment",
    "job": "Job",
    "scaledobject": "ScaledObject",
    "certificate": "Certificate",
}
KUBECTL = Path(sys.executable).with_name("kubectl")


def commands(page: Path, program: str) -> list[str]:
    """Returns the commands of a page, from console blocks and inline code, each cut at its first pipe."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    found = re.findall(rf"^{program} .*", blocks, re.MULTILINE)
    found += [re.sub(r"\s+", " ", each) for each in re.findall(rf"`({program} [^`]+)`", text)]
    return [command.partition(" | ")[0] for command in found]


@functools.cache
def told(command: str) -> str:
    """Runs a kubectl command against an address without a cluster and returns its standard error."""
    program, _, rest = command.partition(" ")
    assert program == "kubectl"
    nowhere = "--server=http://127.0.0.1:1 --kubeconfig=/dev/null --cache-dir=/dev/null/none --request-timeout=5m"
    done = subprocess.run(
        f"{KUBECTL} {rest} {nowhere}",
        shell=True,
        cwd=ROOT,
        env=os.environ | {"GOGC": "off"},  # it ends before a collection of its garbage could pay
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode
    return done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_kubectl_understands_its_commands(page: Path) -> None:
    every = commands(page, "kubectl")
    with ThreadPoolExecutor(4) as together:
        answers = list(together.map(told, every))
    for command, answer in zip(every, answers, strict=True):
        assert "refused" in answer, f"{command}\n{answer}"


def test_what_commands_name_is_rendered() -> None:
    documents = yaml.safe_load_all((ROOT / "tests/k8s/snapshots/prod-l4.yaml").read_text())
    rendered = {(document["kind"], document["metadata"]["name"]) for document in documents}
    named = {
        (KINDS[kind], name)
        for page in PAGES
        for command in commands(page, "kubectl")
        for kind, name in re.findall(rf"\b({'|'.join(KINDS)})s?[ /](sensorium-[a-z-]+)", command)
    }
    assert len({kind for kind, _ in named}) >= 3
    assert named <= rendered


def test_what_is_searched_for_in_the_log_is_in_it() -> None:
    searched = {text for page in PAGES for text in re.findall(r"""grep (?:-v )?'("[^']+)'""", page.read_text())}
    written = _Json(exception_messages=False).format(logging.makeLogRecord({"facts": {"code": "OK"}}))
    assert searched
    assert all(text in written for text in searched), written


def test_metrics_and_variables_that_operators_are_told_of_exist() -> None:
    text = (ROOT / "docs/operation.md").read_text()
    metrics = set(re.findall(r"`(sensorium_[a-z_]+)`", text))
    assert metrics and all(f"`{name}`" in (ROOT / "docs/metrics.md").read_text() for name in metrics)
    kinds = (TextSettings, GatewaySettings)
    variables = set(re.findall(r"SENSORIUM_[A-Z_]+", text))
    assert variables and variables <= {variable(name) for kind in kinds for name in kind.model_fields}


def test_the_command_line_has_what_operators_are_told_to_use() -> None:
    every = [command for page in PAGES for command in commands(page, "sensorium")]
    assert every
    for command in every:
        words = command.split()[1:]
        path = [word for word in words[:2] if re.fullmatch("[a-z-]+", word) and not word.startswith("-")]
        shown = CliRunner().invoke(application(), [*path, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, command
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", shown.output), command
