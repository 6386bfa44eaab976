"""The embedded models under `models/`, and the service for each."""

import json
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
MODELS = CHECKOUT / "models"
_MULTIMODAL = frozenset({"LayoutLMForQuestionAnswering", "LlavaForConditionalGeneration"})
_SPEECH = frozenset({"ASTForAudioClassification", "ClapModel", "ParakeetForCTC", "VitsModel"})


@dataclass(frozen=True)
class Member:
    """One model and the service that serves it."""

    folder: Path
    module: str

    @property
    def name(self) -> str:
        """The model's name."""
        return self.folder.name


def fleet() -> list[Member]:
    """Returns a member for each model under `models/`: the chat model first, the others by name."""
    folders = sorted(path.parent for path in MODELS.glob("*/config.json"))
    members = [Member(folder, _module(folder)) for folder in folders]
    return sorted(members, key=lambda member: member.name != "chat")


def _module(folder: Path) -> str:
    """Returns the module of a model's service, by its architecture or by whether it has an image processor."""
    (made_as, *_) = json.loads((folder / "config.json").read_text()).get("architectures") or [""]
    if made_as in _MULTIMODAL:
        return "services.multimodal"
    if made_as in _SPEECH:
        return "services.speech"
    return "services.vision" if (folder / "preprocessor_config.json").exists() else "services.text"
