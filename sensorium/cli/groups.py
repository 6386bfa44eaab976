"""Groups whose commands are made when they are asked for: to make them all takes longer than most calls."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

Making = Callable[[], Any]
"""Makes a command or a group of them, whose types typer keeps to itself."""


class LazyCommands(Mapping[str, Any]):
    """Commands by name."""

    def __init__(self, makings: Mapping[str, Making]) -> None:
        self._makings = makings
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makings[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makings)

    def __len__(self) -> int:
        return len(self._makings)


class _Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _make_legible()
        super().format_help(ctx, formatter)


def command(name: str, function: Callable[..., None]) -> Any:
    """Returns the command that a function becomes by its signature."""
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name, cls=_Command)(function)
    return get_command(alone)


def group(name: str, about: str | None, makings: Mapping[str, Making]) -> Any:
    """Returns a group of commands."""
    return get_group(typer.Typer(name=name, help=about, cls=kind_of(makings), no_args_is_help=True))


def kind_of(
    makings: Mapping[str, Making], elsewhere: Callable[[str], Sequence[str]] = lambda _: ()
) -> type[TyperGroup]:
    """Returns the class of groups that have these commands. `elsewhere` tells where others with a name are."""

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands: Any = LazyCommands(makings)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] not in self.commands and (places := elsewhere(args[0])):
                meant = " or ".join(f"'{place}'" for place in places)
                ctx.fail(f"No such command '{args[0]}'. Did you mean {meant}?")
            return super().resolve_command(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            _make_legible()
            super().format_help(ctx, formatter)

    return Group


def _make_legible() -> None:
    from sensorium.cli import help_style  # imports much that only help needs

    help_style.apply()
