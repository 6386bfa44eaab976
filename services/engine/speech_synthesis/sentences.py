"""A text as pieces that are spoken one after the other: its sentences, and clauses of those that are very long."""

import re

_STOPS = ".!?…‥。！？．｡।॥؟۔።፧။។᙮"
_UNSPACED = "。！？．｡"
"""Stops of scripts that put no space behind them."""
_CLOSING = "\"'”’»›)]」』）】〉》"
_STOP_SET, _UNSPACED_SET, _CLOSING_SET = (f"[{re.escape(marks)}]" for marks in (_STOPS, _UNSPACED, _CLOSING))
# Begins at the first of several stops, and takes all of them or none: time grows with the text, not with its square.
_END = re.compile(
    rf"(?<!{_STOP_SET})(?P<stops>{_STOP_SET}++)(?:{_CLOSING_SET}*+(?=\s|$)|(?<={_UNSPACED_SET}){_CLOSING_SET}*+)|\n\s*\n"
)
_CLAUSE = re.compile(rf"[,;:—–،؛、，；：]{_CLOSING_SET}*(?=\s)|[、，；：]|\s[—–-](?=\s)")
_ABBREVIATIONS = re.compile(
    "mr|mrs|ms|mx|dr|prof|st|rev|hon|gen|sen|rep|gov|capt|lt|col|sgt|maj|jr|sr|mt|ed|eds|vs|viz|cf|approx|ca|dept|univ|"
    "inc|ltd|co|corp|bros|e\\.g|i\\.e|z\\.b|d\\.h|u\\.a|bzw|usw|evtl|ggf|bspw|mme|mlle|sra|srta|dra",
    re.IGNORECASE,
)
"""What is written with a full stop in the middle of sentences, in languages of the Latin script."""
_BEFORE_NUMBERS = re.compile("no|nos|nr|nrs|vol|fig|figs|eq|sec|ch|pp?|art|abs", re.IGNORECASE)
_WORD = re.compile(r"\w")
_INITIALS = re.compile(r"([^\W\d_]\.)*[^\W\d_]", re.UNICODE)
_LIST_NUMBER = re.compile(r"\s*(\d{1,3}|[ivxIVX]{1,4}|[a-zA-Z])")


def sentences(text: str, longest: int) -> list[str]:
    """Returns the sentences of a text that have a letter or a digit, without the space between them.

    None is above `longest` characters: one that would be is divided at its commas, else between words, else anywhere.
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
    """Returns whether what looks like the end of a sentence that began at `begin` is one; in doubt it is not."""
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
    """Returns a sentence in as few pieces as its clauses allow."""
    pieces: list[str] = []
    while len(sentence) > longest:
        place = _place(sentence, longest)
        pieces.append(sentence[:place].rstrip())
        sentence = sentence[place:].lstrip()
    return [*pieces, sentence] if sentence else pieces


def _place(sentence: str, longest: int) -> int:
    """Returns where to divide a sentence, at most `longest` characters from its start."""
    ends = [match.end() for match in _CLAUSE.finditer(sentence[: longest + 1]) if match.end() <= longest]
    if ends and ends[-1] > longest // 4:
        return ends[-1]
    spaces = [match.start() for match in re.finditer(r"\s", sentence[: longest + 1])]
    return spaces[-1] if spaces and spaces[-1] > 0 else longest
