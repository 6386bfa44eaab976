"""Recognizes checkpoints for tasks that no service has, by the class that they were made as."""

from collections.abc import Mapping

from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import ModelRefused

_UNSERVED = {
    "AUDIO_FRAME_CLASSIFICATION": "tells who speaks when",
    "AUDIO_XVECTOR": "tells voices apart",
    "CAUSAL_IMAGE_MODELING": "draws images pixel by pixel",
    "DECISION": "scores the options of a decision",
    "IMAGE_MATTING": "cuts out what stands before a background",
    "KEYPOINT_DETECTION": "finds points in an image",
    "KEYPOINT_MATCHING": "finds points that two images share",
    "NORMAL_ESTIMATION": "tells which way surfaces face",
    "POINTMAP_ESTIMATION": "tells where in space each pixel lies",
    "POSE_ESTIMATION": "finds the joints of bodies",
    "RETRIEVAL": "compares pages with queries by many vectors of each",
    "TABLE_QUESTION_ANSWERING": "answers questions about tables",
    "TABLE_RECOGNITION": "reads how a table is laid out",
    "TEXT_RECOGNITION": "reads a line of text in an image",
    "TIME_SERIES_CLASSIFICATION": "reads time series",
    "TIME_SERIES_PREDICTION": "reads time series",
    "TIME_SERIES_REGRESSION": "reads time series",
    "VIDEO_CLASSIFICATION": "classifies videos",
}
"""What models do; keys are names of transformers' tables of classes."""
_KINDS = {
    **dict.fromkeys(("Timesformer", "VJEPA2", "VideoMAE", "VideoPrism", "Videomt", "Vivit"), "reads videos"),
    "ViTMAE": "reads a random part of an image",
}
"""What kinds of models do; keys are beginnings of class names."""
_HEADS = {
    "MASKED_IMAGE_MODELING": "guesses hidden parts of an image",
    "MULTIPLE_CHOICE": "chooses among endings of a text",
    "NEXT_SENTENCE_PREDICTION": "tells whether one sentence follows another",
    "PRETRAINING": "does only what it was first trained with",
}
"""The same, for models that can still embed."""
_ENDINGS = {"PRETRAINING": "ForPreTraining"}
"""For tables that also list other classes: the ending of the names that are meant."""


def refuse_unserved(source: str, name: str) -> None:
    """Refuses a checkpoint that was made as class `name`, if no service has its task.

    Raises:
        ModelRefused: it is.
    """
    kind = next((does for beginning, does in _KINDS.items() if name.startswith(beginning)), None)
    if does := _does(_UNSERVED, name) or kind:
        raise ModelRefused(f"{source} was made as {name}, which {does}: no service does that.")
    if does := _does(_HEADS, name):
        raise ModelRefused(
            f"{source} was made as {name}, which {does}: no service does that. --task embed serves its vectors, in the "
            "service for what it reads."
        )


def _does(told: Mapping[str, str], name: str) -> str | None:
    """Returns what a class does, by the tables in `told`; a release of transformers may lack some of them."""
    for table, does in told.items():
        listed = getattr(auto, f"MODEL_FOR_{table}_MAPPING_NAMES", {}).values()
        names = {each for value in listed for each in ((value,) if isinstance(value, str) else value)}
        if name in names and name.endswith(_ENDINGS.get(table, "")):
            return does
    return None
