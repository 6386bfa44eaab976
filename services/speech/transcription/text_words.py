"""Splits texts into words and joins texts, for models that return plain text without word boundaries."""

import re

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0002fa1f"
)
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese, and their punctuation."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_SEAM = re.compile(rf"[{_UNSPACED}]")


def words_of(text: str) -> list[str]:
    """Returns the words of a text. In scripts without spaces each character counts as a word."""
    return _WORD.findall(text)


def joined_texts(texts: list[str]) -> str:
    """Concatenates texts, with a space between two unless both sides of the seam are in scripts without spaces."""
    whole = ""
    for text in filter(None, map(str.strip, texts)):
        parted = whole and not (_SEAM.match(whole[-1]) and _SEAM.match(text))
        whole += f" {text}" if parted else text
    return whole
