"""The context length of a model, which configurations give under many names, and some not at all."""

from transformers import PretrainedConfig, PreTrainedTokenizerBase

_NAMES = ("max_position_embeddings", "max_sequence_length", "max_seq_len", "n_positions", "seq_length")
_OTHERWISE = 4096
_NO_LIMIT = 1 << 24
"""From here on, a tokenizer's `model_max_length` means that there is no limit."""


def decoder_context(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the context length of the model, or of its decoder: prompt and output together."""
    return _context(config, tokenizer, ("max_decoder_position_embeddings", "max_target_positions"), decoder=True)


def source_context(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the context length of the encoder of an encoder-decoder."""
    return _context(config, tokenizer, ("max_encoder_position_embeddings", "max_source_positions"), encoder=True)


def _context(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, names: tuple[str, ...], **part: bool) -> int:
    nested = getattr(config, "encoder", None) if part.get("encoder") else None
    text = nested if isinstance(nested, PretrainedConfig) else config.get_text_config(**part)
    for name in (*names, *_NAMES):
        if isinstance(found := getattr(text, name, None), int) and found > 0:
            return found
    # Models with relative positions or a recurrent state have no such field; their tokenizer knows what they learned.
    told = tokenizer.model_max_length
    return int(told) if told and told < _NO_LIMIT else _OTHERWISE
