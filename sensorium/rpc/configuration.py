"""Reads a process's settings, and says everything that is wrong with them at once."""

import os
import sys
from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction, HelpFormatter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sensorium.rpc.settings import PREFIX, ServerSettings
from sensorium.rpc.unread_variables import unread_variables

SettingsT = TypeVar("SettingsT", bound=ServerSettings)

_NOT_THERE = "missing"
_LISTED = "--help lists them."


def load(kind: type[SettingsT], program: str, arguments: Sequence[str] | None = None) -> SettingsT:
    """Returns the settings that flags (`--metrics-port`) and, behind them, the environment (`SENSORIUM_METRICS_PORT`)
    give; `arguments` are by default those of the process.

    Raises:
        SystemExit: with 2 where anything is wrong, after a sentence for each problem on standard error; with 0 after
            `--help`.
    """
    parser = _parser(kind, program)
    known, unknown = parser.parse_known_args(arguments)
    flags = vars(known)
    problems = _unknown(unknown, [flag(name) for name in kind.model_fields])
    try:
        settings = kind(**flags)
    except ValidationError as error:
        _refuse(program, [*problems, *_sentences(kind, error, flags), *unread_variables(kind.model_fields)])
    if problems:
        _refuse(program, problems)
    return settings


def flag(name: str) -> str:
    """Returns the flag of a field."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Returns the environment variable of a field."""
    return PREFIX + name.upper()


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _refuse(self.prog, [f"{message}; --help explains the flags."])


def _parser(kind: type[ServerSettings], program: str) -> ArgumentParser:
    parser = _Parser(
        program,
        description=(kind.__doc__ or "").partition("\n\n")[0],
        epilog=f"Every flag is an environment variable too: {flag('log_level')} is {variable('log_level')}. Flags win.",
        allow_abbrev=False,
        formatter_class=partial(HelpFormatter, max_help_position=36, width=110),
    )
    for name, field in kind.model_fields.items():
        about = (field.description or "").replace("%", "%%") + _default(field)
        # Values stay texts here, so that one place judges flags and variables alike.
        if field.annotation is bool:
            parser.add_argument(flag(name), action=BooleanOptionalAction, default=SUPPRESS, help=about)
        else:
            parser.add_argument(flag(name), metavar=_metavar(name, field.annotation), default=SUPPRESS, help=about)
    return parser


def _metavar(name: str, kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"{{{','.join(get_args(kind))}}}"
    return "N" if int in (kind, *get_args(kind)) else name.rpartition("_")[2].upper()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return " Required."
    default: Any = field.default
    if isinstance(default, bool):
        return f" Default: {'on' if default else 'off'}."
    return "" if default is None or default == () else f" Default: {default}."


def _unknown(arguments: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Returns a sentence for each argument that is none; the value behind a flag that is none is told with that."""
    sentences: list[str] = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        given = argument.partition("=")[0]
        if argument.startswith("-"):
            near = get_close_matches(given, flags, n=1)
            sentences.append(f"{given}: there is no such flag; {f'did you mean {near[0]}?' if near else _LISTED}")
        elif not before.startswith("-"):
            sentences.append(f"{argument}: this belongs to no flag; {_LISTED}")
    return sentences


def _sentences(kind: type[ServerSettings], error: ValidationError, flags: Mapping[str, Any]) -> list[str]:
    sentences: list[str] = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == _NOT_THERE:
            about = kind.model_fields[name].description or ""
            sentences.append(f"{flag(name)} (or {variable(name)}) is required. {about}".rstrip())
            continue
        told = problem["msg"].removeprefix("Value error, ")
        sentences.append(f"{_given(name, problem['input'], flags)}: {told[:1].lower()}{told[1:]}.")
    return sentences


def _given(name: str, value: Any, flags: Mapping[str, Any]) -> str:
    """Returns the key as it was given, with its value."""
    if name in flags:
        return f"{flag(name)} {flags[name]}"
    if variable(name) in os.environ:
        return f"{variable(name)}={os.environ[variable(name)]}"
    return f"{flag(name)} ({value!r})"


def _refuse(program: str, problems: Sequence[str]) -> NoReturn:
    print(f"{program} cannot start:", *(f"  {problem}" for problem in problems), sep="\n", file=sys.stderr)
    raise SystemExit(2)
