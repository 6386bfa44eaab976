"""Splits a text into sentences, and very long sentences into clauses."""

import re

_STOPS = ".!?…‥。！？．｡।॥؟۔።፧။។᙮"
_UNSPACED = "。！？．｡"
"""Stops of scripts without a space after them."""
_CLOSING = "\"'”’»›)]」』）】〉》"
_STOP_SET, _UNSPACED_SET, _CLOSING_SET = (f"[{re.escape(marks)}]" for marks in (_STOPS, _UNSPACED, _CLOSING))
# Possessive quantifiers match a run of stops as a whole, so that time stays linear in the text's length.
_END = re.compile(
    rf"(?<!{_STOP_SET})(?P<stops>{_STOP_SET}++)(?:{_CLOSING_SET}*+(?=\s|$)|(?<={_UNSPACED_SET}){_CLOSING_SET}*+)|\n\s*\n"
)
_CLAUSE = re.compile(rf"[,;:—–،؛、，；：]{_CLOSING_SET}*(?=\s)|[、，；：]|\s[—–-](?=\s)")
_ABBREVIATIONS = re.compile(
    "mr|mrs|ms|mx|dr|prof|st|rev|hon|gen|sen|rep|gov|capt|lt|col|sgt|maj|jr|sr|mt|ed|eds|vs|viz|cf|approx|ca|dept|univ|"
    "inc|ltd|co|corp|bros|e\\.g|i\\.e|z\\.b|d\\.h|u\\.a|bzw|usw|evtl|ggf|bspw|mme|mlle|sra|srta|dra",
    re.IGNORECASE,
)
"""Abbreviations with a full stop within sentences, in languages of the Latin script."""
_BEFORE_NUMBERS = re.compile("no|nos|nr|nrs|vol|fig|figs|eq|sec|ch|pp?|art|abs", re.IGNORECASE)
_WORD = re.compile(r"\w")
_INITIALS = re.compile(r"([^\W\d_]\.)*[^\W\d_]", re.UNICODE)
_LIST_NUMBER = re.compile(r"\s*(\d{1,3}|[ivxIVX]{1,4}|[a-zA-Z])")


def sentences(text: str, longest: int) -> list[str]:
    """Returns the sentences of a text that contain a letter or a digit, without the space between them.

    Sentences of more than `longest` characters are split at commas, else between words, else anywhere.
    """
    found: list[str] = []
    begin = 0
    for match in _END.finditer(text):
        if match.end() == len(text) or _ends_sentence(text, begin, match):
            found.append(text[begin : match.end()])
            begin = match.end()
    found.append(text[begin:])
    return [piece for sentence in found if _WORD.search(sentence) for piece in _divided(sentence.strip(), longest)]


def _ends_sentence(text: str, begin: int, match: re.Match[str]) -> bool:
    """Returns whether a match ends the sentence that began at `begin`; in doubt it does not."""
    stops = match["stops"]
    if stops is None or stops[-1] in _UNSPACED:
        return True
    following = text[match.end() :].lstrip()[:1]
    if following.islower():
        return False
    if stops != ".":
        return True
    before = text[begin : match.start()]
    word = before[-1:].strip() and before.rsplit(None, 1)[-1].lstrip("([\"'“‘«")
    if _ABBREVIATIONS.fullmatch(word) or _INITIALS.fullmatch(word) or _LIST_NUMBER.fullmatch(before):
        return False
    return not (following.isdigit() and _BEFORE_NUMBERS.fullmatch(word))


def _divided(sentence: str, longest: int) -> list[str]:
    """Splits a sentence into as few pieces as its clauses allow."""
    pieces: list[str] = []
    while len(sentence) > longest:
        place = _place(sentence, longest)
        pieces.append(sentence[:place].rstrip())
        sentence = sentence[place:].lstrip()
    return [*pieces, sentence] if sentence else pieces


def _place(sentence: str, longest: int) -> int:
    """Returns where to split a sentence, at most `longest` characters from its start."""
    ends = [match.end() for match in _CLAUSE.finditer(sentence[: longest + 1]) if match.end() <= longest]
    if ends and ends[-1] > longest // 4:
        return ends[-1]
    spaces = [match.start() for match in re.finditer(r"\s", sentence[: longest + 1])]
    return spaces[-1] if spaces and spaces[-1] > 0 else longest
