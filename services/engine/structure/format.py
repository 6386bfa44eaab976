"""The format that a request demands of its output, as plain values, free of torch, protobuf and llguidance."""

from dataclasses import dataclass
from enum import Enum


class StructureKind(Enum):
    """The kinds of structure. Values are the field names of the contract."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    CHOICE_LIST = "choice_list"
    GRAMMAR = "grammar"
    JSON_OBJECT = "json_object"


@dataclass(frozen=True)
class StructureFormat:
    """One constraint on the whole output. Equal formats are compiled once."""

    kind: StructureKind
    texts: tuple[str, ...] = ()
    """The schema, the regular expression, the grammar, or all choices; empty for JSON_OBJECT."""

    @property
    def field(self) -> str:
        """Its field in a request, for violations."""
        return f"parameters.structured_output.{self.kind.value}"


class StructureRefused(Exception):
    """A structure cannot be compiled. The message tells its author why."""


class StructureUndecided(StructureRefused):
    """A structure was not compiled for a reason outside itself, such as a busy machine. It may be tried again."""
