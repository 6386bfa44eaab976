"""What each token reads when it is decoded alone."""

from services.engine.generation.output.detokenizer import Decoder


class TokenTexts(dict[int, str]):
    """Texts by token id, decoded once each: at every step the same few hundred tokens are among the likeliest."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self._decoder = decoder

    def __missing__(self, token_id: int) -> str:
        text = self[token_id] = self._decoder.decode([token_id], skip_special_tokens=False)
        return text
