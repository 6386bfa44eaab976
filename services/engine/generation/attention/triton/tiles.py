"""What the programs of the decode kernel take: by default what was measured on an H200, or what won a race at load."""

from dataclasses import dataclass, replace

from services.engine.fusion.triton.launch import power

BLOCKS = (16, 64, 256)
"""Blocks of queries that the decode kernel looks through at once, for which it is compiled."""
_LEAST = 16
_WARP_BYTES = 4096
"""Of keys that a warp takes at once: with more the kernel spills, on each target, with fewer it does not."""


@dataclass(frozen=True)
class DecodeTile:
    """What a program takes, and how many there are."""

    tokens: int
    """At once, at most."""
    warps: int = 2
    programs: int = 4
    """For each multiprocessor: fewer read too little at once, more begin and end too often."""

    turned: bool = False
    """Whether queries are columns of products, of which a tensor core takes 8 at once, and not rows, of which it takes
    16: where few queries look at the same key there is less to compute.
    """

    def tokens_of(self, key_bytes: int) -> int:
        """Returns how many tokens with keys of so many bytes fit its registers."""
        return max(min(self.tokens, _WARP_BYTES * self.warps // key_bytes), _LEAST)


_ALONE, _TOGETHER = DecodeTile(64), DecodeTile(32)
"""For one block of queries and for several."""
RACED = (
    _TOGETHER, _ALONE, DecodeTile(32, 1, 8), DecodeTile(32, 1, 8, turned=True), DecodeTile(64, 2, 4, turned=True),
    DecodeTile(16, 1, 8, turned=True),
)  # fmt: skip
"""Those that may be faster on some GPU: programs of one warp have no sums that go through shared memory."""


def raced_tiles(own: DecodeTile, key_bytes: int) -> list[DecodeTile]:
    """Returns `own` and the others that run against it, each once, of as many tokens as fit keys of so many bytes."""
    return list(dict.fromkeys(replace(tile, tokens=tile.tokens_of(key_bytes)) for tile in (own, *RACED)))


class DecodeTiles:
    """The tile for each number of blocks. What plans a step and what launches it have to find the same."""

    def __init__(self) -> None:
        self._chosen: dict[int, DecodeTile] = {}

    def __str__(self) -> str:
        """Tells which were chosen."""
        return ", ".join(f"{tile} for up to {most}" for most, tile in self._chosen.items()) or "its own tiles"

    def of(self, blocks: int) -> DecodeTile:
        """Returns the tile for so many blocks of queries."""
        return self._chosen.get(group_of(blocks)) or (_ALONE if blocks == 1 else _TOGETHER)

    def choose(self, blocks: int, tile: DecodeTile) -> None:
        """Lets so many blocks have this tile from now on, and all others of their group."""
        self._chosen[group_of(blocks)] = tile


def group_of(blocks: int) -> int:
    """Returns the most blocks that have the same tile."""
    return 1 if blocks == 1 else looked_through(blocks)


def looked_through(blocks: int) -> int:
    """Returns how many blocks of queries a kernel for so many looks through."""
    return next((size for size in BLOCKS if blocks <= size), power(blocks))
