import re
from pathlib import Path

import pytest

from gateway.config import GatewaySettings
from sensorium.errors import SensoriumError
from sensorium.rpc.configuration import flag
from sensorium.status import tree
from services.engine.language.responses.known import KNOWN_FORMATS
from services.multimodal.config import MultimodalSettings
from services.speech.config import SpeechSettings
from services.text.config import TextSettings
from services.vision.config import VisionSettings
from tests.docs.api_pages import FOLDER, pages
from tests.docs.metrics_page import page

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVICES = [ROOT / f"docs/{name}.md" for name in ("serving", "text", "vision", "speech", "multimodal", "gateway")]


def test_the_page_of_metrics_is_what_the_registries_declare() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page(), "run `make docs`"


def test_the_reference_is_what_the_contract_says() -> None:
    assert {path: path.read_text() for path in FOLDER.iterdir()} == pages(), "run `make docs`"


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_types_of_the_reference_lead_to_their_headings(path: Path) -> None:
    links = re.findall(r"\]\(([a-z]*(?:\.md)?)#([a-z]+)\)", path.read_text())
    assert links
    for page_name, anchor in links:
        headings = re.findall(r"^#+ (.+)$", (path.parent / (page_name or path.name)).read_text(), re.MULTILINE)
        assert anchor in {heading.replace(".", "").lower() for heading in headings}, (page_name, anchor)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in link:
            assert (path.parent / link).exists(), link


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "docs/observing.md", *SERVICES], ids=lambda path: path.name
)
def test_flags_of_servers_exist(path: Path) -> None:
    """Each `--flag` in a table or a command of a page is a field of some server's settings."""
    kinds = (TextSettings, VisionSettings, SpeechSettings, MultimodalSettings, GatewaySettings)
    known = {flag(name) for kind in kinds for name in kind.model_fields}
    known |= {"--no-" + name[2:] for name in known}
    text = path.read_text()
    told = set(re.findall(r"`(--[a-z-]+)[ `]", text))
    for line in re.findall(r"python -m (?:services\.[a-z]+|gateway) .*", text):
        told |= set(re.findall(r"(--[a-z-]+)", line))
    assert told
    assert told <= known | {"--help"}


def test_every_error_is_told_with_its_code() -> None:
    """The table of errors lists every reason with its gRPC code; "the same" means that the code has the same name."""
    told: dict[str, str] = {}
    for reasons, code in re.findall(
        r"^\| (`[A-Z_`, ]+`) \| ([A-Za-z_ ]+) \|", (ROOT / "docs/clients.md").read_text(), re.M
    ):
        told |= {reason: reason if code == "the same" else code for reason in re.findall(r"`(\w+)`", reasons)}
    assert told == {kind.reason: kind.code.name for kind in tree() if kind is not SensoriumError}


def test_targets_of_make_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {target for path in PAGES for target in re.findall(r"`make ([a-z-]+)`", path.read_text())}
    assert {"demo", "test", "serve"} <= told
    assert told <= targets


def test_known_formats_of_answers_are_listed() -> None:
    (table,) = re.findall(r"^\| Format \| Models \|\n(.*?)\n\n", (ROOT / "docs/text.md").read_text(), re.M | re.S)
    told = [name for row in table.splitlines()[1:] for name in re.findall(r"`([a-z0-9.-]+)`", row.split("|")[1])]
    assert told == sorted(each.name for each in KNOWN_FORMATS)
    for path in ("README.md", "CHANGELOG.md"):
        assert re.search(rf"\b{len(told)}\s+known formats", (ROOT / path).read_text()), path
