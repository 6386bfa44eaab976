"""Tries a first text at load, so that models which cannot read any are refused early."""

import torch
from torch import nn

from services.engine.batching.job import Item
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.encoders.loading import LoadedEncoder
from services.engine.encoders.reader import TextReader
from services.engine.encoders.runner import TextRunner
from services.engine.encoders.tokens import TextTokens

_TEXT = "a cat"


@torch.inference_mode()
def try_reading(loaded: LoadedEncoder, reader: TextReader, *, pair: bool = False, vectors: bool = False) -> None:
    """Runs the model on a text, or on a `pair` of texts, with the inputs that its tokenizer makes.

    Raises:
        ModelRefused: The tokenizer or the model fails; or `vectors` are needed, and the model's output has no
            `last_hidden_state`.
    """
    tokenizer = type(loaded.tokenizer).__name__
    runner = TextRunner(loaded.model, loaded.device, loaded.pad_id, lambda output, _batch, _items: [output])
    try:
        tokens = reader.encode(_TEXT, _TEXT if pair else None)
        _require_types(loaded, tokens, tokenizer)
        # A text whose tokens lack embeddings is no reason to refuse the model: such requests are refused one by one.
        if len(tokens) and max(tokens.ids) < loaded.vocabulary_size:
            (output,) = runner.run([Item(tokens)])
            if vectors and not hasattr(output, "last_hidden_state"):
                raise ModelRefused(f"{loaded.architecture} gives no vectors of tokens to make embeddings of.")
    except MODEL_ERRORS as error:
        read = "pairs of texts" if pair else "texts"
        raise ModelRefused(f"{loaded.architecture} cannot read {read} as {tokenizer} gives them: {error}") from error


def _require_types(loaded: LoadedEncoder, tokens: TextTokens, tokenizer: str) -> None:
    """Refuses token types without an embedding: on a GPU, looking one up would kill the process."""
    given = max(tokens.type_ids or [0]) + 1
    for name, module in loaded.model.named_modules():
        if (
            isinstance(module, nn.Embedding)
            and name.endswith("token_type_embeddings")
            and module.num_embeddings < given
        ):
            raise ModelRefused(
                f"{loaded.architecture} knows {module.num_embeddings} of the {given} types of tokens that {tokenizer} "
                "tells: set model_input_names in tokenizer_config.json to what the model was trained with, mostly "
                "input_ids and attention_mask."
            )
