import torch

from services.engine.language.known_texts import KnownText, KnownTexts


def known(value: float) -> KnownText:
    return KnownText(torch.tensor([value]), 3)


def test_what_was_asked_for_least_lately_makes_room() -> None:
    texts = KnownTexts(most=2)
    first, second, third = known(1), known(2), known(3)
    assert texts.get("a") is None
    texts.put("a", first)
    texts.put("b", second)
    assert texts.get("a") is first
    texts.put("c", third)
    assert (texts.get("a"), texts.get("b"), texts.get("c")) == (first, None, third)
