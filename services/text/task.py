"""The tasks of text models, and how a checkpoint's task is chosen."""

from enum import Enum

from services.engine.checkpoint import Checkpoint, find_file, read_config, refusals
from services.engine.encoders.sentences import MODULES
from services.unserved import refuse_unserved


class TextTask(Enum):
    """A task of a text encoder. The values are those of `--task`."""

    EMBED = "embed"
    CLASSIFY = "classify"
    """With its own labels; also zero-shot if trained on natural language inference, and Rerank if it has one label."""
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
"""Classes with a masked language model head and a second head that is not used."""
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ForSeq2SeqLM", "MTModel")


def choose_task(checkpoint: Checkpoint, wanted: str) -> TextTask | None:
    """Returns the task to serve, or None for generation; `wanted` is the value of `--task`.

    Raises:
        ModelRefused: `wanted` is `auto`, and the checkpoint's configuration cannot be read or names a class that no
            service supports.
    """
    if wanted != "auto":
        return None if wanted == "generate" else TextTask(wanted)
    with refusals(checkpoint.source):
        if find_file(checkpoint, MODULES):
            return TextTask.EMBED  # config.json may be in a subfolder
        config = read_config(checkpoint)
    (name, *_) = getattr(config, "architectures", None) or [""]
    if name in _MASKS:
        return TextTask.FILL_MASK
    refuse_unserved(checkpoint.source, name)
    for ending, task in _BY_CLASS.items():
        if name.endswith(ending):
            return task
    if name.endswith("EncoderModel"):  # e.g. T5EncoderModel: the encoder of an encoder-decoder
        return TextTask.EMBED
    if not name or name.endswith(_GENERATING) or config.is_encoder_decoder:
        return None
    # A class without a head is an encoder, or a decoder used for its hidden states.
    return TextTask.EMBED if name.endswith("Model") else None
