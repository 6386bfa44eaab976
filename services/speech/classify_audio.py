"""The verb ClassifyAudio with the model's own labels."""

from torch import Tensor

from services.engine.audio.loading import LoadedAudioModel
from services.engine.batching.pipeline import Pipeline
from services.media.classifier import OwnLabelClassifier
from services.speech.recording_list import RecordingList


def compute_logits(loaded: LoadedAudioModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `logits` `[recordings, labels]`. A Compute of AudioRunner."""
    return {"logits": loaded.model(**batch).logits}


def own_labels(pipeline: Pipeline, loaded: LoadedAudioModel, recordings: RecordingList) -> OwnLabelClassifier:
    """Returns a classifier that scores logits as transformers' pipeline does, by the configuration's problem type."""
    kind = loaded.config.problem_type
    return OwnLabelClassifier(
        pipeline,
        recordings,
        loaded.labels,
        regresses=kind == "regression",
        multi_label=kind == "multi_label_classification",
    )
