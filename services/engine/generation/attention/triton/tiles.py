"""Tiles of the decode kernel: by default those measured on an H200, or the ones that were fastest in a race at load."""

from dataclasses import dataclass, replace

from services.engine.fusion.triton.launch import power

BLOCKS = (16, 64, 256)
"""Numbers of query blocks for which the decode kernel is compiled; each program looks through all of them."""
_LEAST = 16
_WARP_BYTES = 4096
"""Bytes of keys that a warp loads at once. With more, the kernel spills registers on every target."""


@dataclass(frozen=True)
class DecodeTile:
    """The work of one program, and how many programs there are."""

    tokens: int
    """Most tokens that are loaded at once."""
    warps: int = 2
    programs: int = 4
    """For each multiprocessor. With fewer, too little is loaded at once; with more, starting them takes too long."""

    turned: bool = False
    """Whether queries are columns of the products, of which a tensor core takes 8, not rows, of which it takes 16.

    With few queries for a key head there is then less to compute.
    """

    def tokens_of(self, key_bytes: int) -> int:
        """Returns how many tokens with keys of `key_bytes` fit the registers."""
        return max(min(self.tokens, _WARP_BYTES * self.warps // key_bytes), _LEAST)


_ALONE, _TOGETHER = DecodeTile(64), DecodeTile(32)
"""Defaults for one block of queries and for several."""
RACED = (
    _TOGETHER, _ALONE, DecodeTile(32, 1, 8), DecodeTile(32, 1, 8, turned=True), DecodeTile(64, 2, 4, turned=True),
    DecodeTile(16, 1, 8, turned=True),
)  # fmt: skip
"""Tiles that may be faster on some GPUs: programs of one warp do not reduce through shared memory."""


def raced_tiles(own: DecodeTile, key_bytes: int) -> list[DecodeTile]:
    """Returns `own` and then the tiles that race against it, each once, with as many tokens as the keys allow."""
    return list(dict.fromkeys(replace(tile, tokens=tile.tokens_of(key_bytes)) for tile in (own, *RACED)))


class DecodeTiles:
    """The tile for each number of blocks. The plan of a step and its launch have to use the same tile."""

    def __init__(self) -> None:
        self._chosen: dict[int, DecodeTile] = {}

    def __str__(self) -> str:
        """Lists the tiles that were chosen."""
        return ", ".join(f"{tile} for up to {most}" for most, tile in self._chosen.items()) or "its own tiles"

    def of(self, blocks: int) -> DecodeTile:
        """Returns the tile for so many blocks of queries."""
        return self._chosen.get(group_of(blocks)) or (_ALONE if blocks == 1 else _TOGETHER)

    def choose(self, blocks: int, tile: DecodeTile) -> None:
        """Sets the tile for so many blocks, and for all other numbers of the same group."""
        self._chosen[group_of(blocks)] = tile


def group_of(blocks: int) -> int:
    """Returns the greatest number of blocks that has the same tile."""
    return 1 if blocks == 1 else looked_through(blocks)


def looked_through(blocks: int) -> int:
    """Returns how many blocks a kernel for `blocks` blocks of queries looks through."""
    return next((size for size in BLOCKS if blocks <= size), power(blocks))
