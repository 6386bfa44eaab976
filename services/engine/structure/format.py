"""What a caller wants the output to look like, free of torch, of protobuf and of the library that compiles it."""

from dataclasses import dataclass
from enum import Enum


class StructureKind(Enum):
    """The ways to say it, named as the contract's fields are."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    CHOICE_LIST = "choice_list"
    GRAMMAR = "grammar"
    JSON_OBJECT = "json_object"


@dataclass(frozen=True)
class StructureFormat:
    """One constraint on the whole output. Equal ones are compiled once."""

    kind: StructureKind
    texts: tuple[str, ...] = ()
    """The schema, the expression or the grammar; the choices; nothing for any JSON object."""

    @property
    def field(self) -> str:
        """Where it stands in a request."""
        return f"parameters.structured_output.{self.kind.value}"


class StructureRefused(Exception):
    """A structure cannot be compiled. The message says why, in words for who wrote it."""


class StructureUndecided(StructureRefused):
    """It was not compiled now, for a reason that is none of its own: it may be tried again."""
