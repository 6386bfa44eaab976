"""A field of running text."""


class Prose:
    """Strips a text that comes in pieces: whitespace is kept back until text follows it.

    Several regions of a field are one text, put together as they are or, with `join`, stripped and joined by that.
    """

    def __init__(self, *, strip: bool = True, join: str | None = None) -> None:
        self._strip = strip
        self._join = join
        self._held: list[str] = []
        self._leads = strip
        self._begun = False

    def begin(self) -> None:
        """Begins a further region."""
        if self._join is not None and self._begun:
            self._held = [self._join]
            self._leads = self._strip

    def write(self, text: str) -> str:
        """Returns what is certain, with this text, to belong to the field."""
        if self._leads:
            text = text.lstrip()
        if not text:
            return ""
        self._leads = False
        said = text.rstrip() if self._strip else text
        if not said:
            self._held.append(text)
            return ""
        self._begun = True
        certain = "".join([*self._held, said])
        self._held = [text[len(said) :]]
        return certain

    def forget(self) -> None:
        """Drops whitespace that was kept back."""
        self._held = []
