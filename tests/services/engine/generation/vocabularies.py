"""Tokenizers for tests of incremental detokenization."""

from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from tests.made_once import made_once
from tests.tiny.language_models import tokenizer

BYTES_FROM = 3


@made_once
def byte_fallback() -> PreTrainedTokenizerFast:
    """A tokenizer as converted from SentencePiece: words with a leading `▁`, and byte fallback for everything else."""
    words = ["▁" + word for word in ("", "hello", "world", "a", "to")] + list("abc,.") + ["ing"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    fast = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], byte_fallback=True))
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


class Undecodable:
    """Decodes up to three tokens, and fails on more."""

    def decode(self, token_ids: list[int], **options: bool) -> str:
        """Returns the text of the tokens. Raises ValueError for more than three."""
        if len(token_ids) > 3:
            raise ValueError("no such piece")
        return tokenizer().decode(token_ids, **options)


def as_bytes(text: str) -> list[int]:
    """Returns the ids that spell `text` byte by byte."""
    return [BYTES_FROM + byte for byte in text.encode()]


def whole(tokenizer: PreTrainedTokenizerFast, ids: list[int], *, skip_special_tokens: bool = True) -> str:
    """Decodes all ids in one call."""
    return tokenizer.decode(ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False)
