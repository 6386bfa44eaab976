"""What a text checkpoint is served for."""

from enum import Enum

from services.engine.checkpoint import Checkpoint, find_file, read_config, refusals
from services.engine.encoders.sentences import MODULES
from services.unserved import refuse_unserved


class TextTask(Enum):
    """A task of a text model that reads once. Values are those of `--task`."""

    EMBED = "embed"
    CLASSIFY = "classify"
    """By its own labels, by labels in the request if it was trained on inference, and ranking if it has one label."""
    CLASSIFY_TOKENS = "classify-tokens"
    ANSWER_QUESTION = "answer-question"
    FILL_MASK = "fill-mask"


_BY_CLASS = {
    "ForSequenceClassification": TextTask.CLASSIFY,
    "ForTokenClassification": TextTask.CLASSIFY_TOKENS,
    "ForQuestionAnswering": TextTask.ANSWER_QUESTION,
    "ForMaskedLM": TextTask.FILL_MASK,
}
_MASKS = frozenset(
    f"{kind}ForPreTraining"
    for kind in ("Albert", "Bert", "BigBird", "Ernie", "FNet", "MegatronBert", "MobileBert", "RoCBert")
)
"""These fill masks, and have another head that no service asks."""
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ForSeq2SeqLM", "MTModel")


def choose_task(checkpoint: Checkpoint, wanted: str) -> TextTask | None:
    """Returns what the checkpoint is served for, or None for generation; `wanted` is a value of `--task`.

    Raises:
        ModelRefused: its configuration cannot be read, or it was made for what no service does.
    """
    if wanted != "auto":
        return None if wanted == "generate" else TextTask(wanted)
    with refusals(checkpoint.source):
        if find_file(checkpoint, MODULES):
            return TextTask.EMBED  # its configuration may lie in a folder of its own
        config = read_config(checkpoint)
    (name, *_) = getattr(config, "architectures", None) or [""]
    if name in _MASKS:
        return TextTask.FILL_MASK
    refuse_unserved(checkpoint.source, name)
    for ending, task in _BY_CLASS.items():
        if name.endswith(ending):
            return task
    if name.endswith("EncoderModel"):  # of an encoder-decoder, as which T5's encoder is published by itself
        return TextTask.EMBED
    if not name or name.endswith(_GENERATING) or config.is_encoder_decoder:
        return None
    # What has no head is an encoder, or a decoder whose states are wanted.
    return TextTask.EMBED if name.endswith("Model") else None
