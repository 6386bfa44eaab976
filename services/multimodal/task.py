"""The tasks of multimodal models, and how a checkpoint's task is chosen."""

from enum import Enum

from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.unserved import refuse_unserved


class MultimodalTask(Enum):
    """A task of a multimodal model. The values are those of `--task`."""

    GENERATE = "generate"
    """From conversations with media."""
    CAPTION = "caption"
    ANSWER_IMAGE_QUESTION = "answer-image-question"
    """By choosing from the model's fixed answers, or by generating one."""
    ANSWER_DOCUMENT_QUESTION = "answer-document-question"
    """By selecting the answer from the words of a page, or by generating one."""


_LISTED_ELSEWHERE = {"AudioFlamingo3ForConditionalGeneration", "MusicFlamingoForConditionalGeneration"}
"""Models that transformers does not list as multimodal language models, although they are."""
_BY_CLASS = {
    MultimodalTask.ANSWER_IMAGE_QUESTION: frozenset({"ViltForQuestionAnswering"}),
    MultimodalTask.ANSWER_DOCUMENT_QUESTION: frozenset(
        auto.MODEL_FOR_DOCUMENT_QUESTION_ANSWERING_MAPPING_NAMES.values()
    ),
    MultimodalTask.GENERATE: frozenset(auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.values()) | _LISTED_ELSEWHERE,
}


def made_as(checkpoint: Checkpoint) -> str:
    """Returns the class that a checkpoint's configuration names; empty if it names none.

    Raises:
        ModelRefused: its configuration cannot be read, or is of a model that is not supported (LayoutLMv2).
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
    if config.model_type == "layoutlmv2":
        raise ModelRefused(
            f"{checkpoint.source} is a LayoutLMv2, whose part for images needs detectron2, which is not among this "
            "service's dependencies. LayoutLM and LayoutLMv3 are served."
        )
    (name, *_) = getattr(config, "architectures", None) or [""]
    return name


def choose_task(source: str, name: str, wanted: str) -> MultimodalTask:
    """Returns the task to serve for a checkpoint of the class `name`; `wanted` is the value of `--task`.

    Raises:
        ModelRefused: `wanted` is `auto`, and no task supports the class.
    """
    own = next((task for task, names in _BY_CLASS.items() if name in names), None)
    if own is not None and (own is MultimodalTask.GENERATE or wanted == "auto"):
        return own  # a model that generates from conversations can do the other tasks too
    if wanted != "auto":
        return MultimodalTask(wanted)
    refuse_unserved(source, name)
    raise ModelRefused(
        f"{source} was made as {name or 'nothing its configuration names'}, which is no multimodal task known here. "
        "--task chooses one, or another service serves it: text, vision, speech or multimodal."
    )
