from types import SimpleNamespace
from typing import Any

import pytest

from services.engine.checkpoint import ModelRefused
from services.vision.detection.vocabularies import open_vocabulary


def test_models_that_read_labels_in_another_way_are_refused_by_name() -> None:
    loaded: Any = SimpleNamespace(config=SimpleNamespace(model_type="omdet-turbo"))
    with pytest.raises(
        ModelRefused, match=r"of the kind omdet-turbo read labels .* Known are owlvit, owlv2, grounding"
    ):
        open_vocabulary(loaded)
