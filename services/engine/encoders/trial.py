"""A first text, before anybody sends one."""

import torch

from services.engine.batching.job import Item
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.encoders.loading import LoadedEncoder
from services.engine.encoders.reader import TextReader
from services.engine.encoders.runner import TextRunner

_TEXT = "a cat"


@torch.inference_mode()
def try_reading(loaded: LoadedEncoder, reader: TextReader) -> None:
    """Has the model read a text as its tokenizer gives it, with the types of tokens that it tells.

    Raises:
        ModelRefused: the tokenizer takes no text by itself, or the model not what it makes of one.
    """
    runner = TextRunner(loaded.model, loaded.device, loaded.pad_id, lambda output, _batch, _items: [output])
    try:
        tokens = reader.encode(_TEXT)
        # Of tokens that the model lacks only the texts that have them are refused.
        if len(tokens) and max(tokens.ids) < loaded.vocabulary_size:
            runner.run([Item(tokens)])
    except MODEL_ERRORS as error:
        kind = type(loaded.tokenizer).__name__
        raise ModelRefused(f"{loaded.architecture} cannot read texts as {kind} gives them: {error}") from error
