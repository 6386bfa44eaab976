"""What a multimodal checkpoint is served for."""

from enum import Enum

from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.unserved import refuse_unserved


class MultimodalTask(Enum):
    """A task of a multimodal model. Values are those of `--task`."""

    GENERATE = "generate"
    """From conversations with media."""
    CAPTION = "caption"
    ANSWER_IMAGE_QUESTION = "answer-image-question"
    """By choosing among the answers it knows, or by writing one."""
    ANSWER_DOCUMENT_QUESTION = "answer-document-question"
    """By finding the answer among the words of a page, or by writing one."""


_LISTED_ELSEWHERE = {"AudioFlamingo3ForConditionalGeneration", "MusicFlamingoForConditionalGeneration"}
"""By transformers with models that have an encoder for text, which these have not."""
_BY_CLASS = {
    MultimodalTask.ANSWER_IMAGE_QUESTION: frozenset({"ViltForQuestionAnswering"}),
    MultimodalTask.ANSWER_DOCUMENT_QUESTION: frozenset(
        auto.MODEL_FOR_DOCUMENT_QUESTION_ANSWERING_MAPPING_NAMES.values()
    ),
    MultimodalTask.GENERATE: frozenset(auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.values()) | _LISTED_ELSEWHERE,
}


def made_as(checkpoint: Checkpoint) -> str:
    """Returns the class that a checkpoint was made as; empty if its configuration names none.

    Raises:
        ModelRefused: its configuration cannot be read, or is of a model that cannot be run here.
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
    """Returns what a checkpoint made as `name` is served for; `wanted` is a value of `--task`.

    Raises:
        ModelRefused: that is no task known here.
    """
    own = next((task for task, names in _BY_CLASS.items() if name in names), None)
    if own is not None and (own is MultimodalTask.GENERATE or wanted == "auto"):
        return own  # what generates from conversations does all the rest too
    if wanted != "auto":
        return MultimodalTask(wanted)
    refuse_unserved(source, name)
    raise ModelRefused(
        f"{source} was made as {name or 'nothing its configuration names'}, which is no multimodal task known here. "
        "--task chooses one, or another service serves it: text, vision, speech or multimodal."
    )
