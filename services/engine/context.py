"""How many tokens a model reads and writes at most, which configurations tell in many ways, and some not at all."""

from transformers import PretrainedConfig, PreTrainedTokenizerBase

_NAMES = ("max_position_embeddings", "max_sequence_length", "max_seq_len", "n_positions", "seq_length")
_OTHERWISE = 4096
_NO_LIMIT = 1 << 24
"""From here on, what a tokenizer says stands for no limit."""


def decoder_context(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns how many tokens the model, or its decoder, holds: what is given and what is generated together."""
    return _context(config, tokenizer, ("max_decoder_position_embeddings", "max_target_positions"), decoder=True)


def source_context(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns how many tokens the encoder of an encoder-decoder reads."""
    return _context(config, tokenizer, ("max_encoder_position_embeddings", "max_source_positions"), encoder=True)


def _context(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, names: tuple[str, ...], **part: bool) -> int:
    nested = getattr(config, "encoder", None) if part.get("encoder") else None
    text = nested if isinstance(nested, PretrainedConfig) else config.get_text_config(**part)
    for name in (*names, *_NAMES):
        if isinstance(found := getattr(text, name, None), int) and found > 0:
            return found
    # A model of relative positions, or one that carries a state along, reads what it was trained to read.
    told = tokenizer.model_max_length
    return int(told) if told and told < _NO_LIMIT else _OTHERWISE
