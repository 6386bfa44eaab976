import pickle
import subprocess
import sys
from pathlib import Path

from tests.services.engine.media import pictures

ROOT = Path(__file__).parents[4]

# In a process of its own, as a limit on memory is one for a process.
PROGRAM = """
import pickle, resource, sys
from services.engine.media.image import ImageLimits, decode_image
from services.engine.media.refusal import ImageRefused

bombs, room = pickle.load(sys.stdin.buffer)
limits = ImageLimits(file_bytes=1 << 26, pixels=50_000_000, side=60_000)
decode_image(bombs.pop("warm-up"), "", limits)
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + room
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for name, data in bombs.items():
    try:
        print(name, decode_image(data, "", limits).size)
    except ImageRefused as error:
        print(name, "refused:", str(error).split(":")[0])
    except MemoryError:
        print(name, "took memory")
try:
    bytearray(2 * room)
    print("unlimited")
except MemoryError:
    print("limited")
"""

ROOM = 24 << 20


def outcomes(bombs: dict[str, bytes]) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        input=pickle.dumps(({"warm-up": pictures.one_pixel("PNG"), **bombs}, ROOM)),
        capture_output=True,
        cwd=ROOT,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode().splitlines()


def test_a_bomb_is_refused_or_read_within_a_few_megabytes() -> None:
    large = "is 16000 × 16000 = 256000000 pixels; at most 50000000 are accepted"
    expected = {
        "100 megapixels": "refused: is 10000 × 10000 = 100000000 pixels; at most 50000000 are accepted",
        **dict.fromkeys(pictures.FORMATS, f"refused: {large}"),
        "frame beyond its screen": "refused: is 60000 × 60000 = 3600000000 pixels; at most 50000000 are accepted",
        "zTXt": "(1, 1)",
        "iTXt": "(1, 1)",
        "iCCP": "(1, 1)",
        "many frames": "(8, 6)",
    }
    bombs = {
        "100 megapixels": pictures.bomb(10_000),
        **{name: pictures.claiming(name, 16_000, 16_000) for name in pictures.FORMATS},
        "frame beyond its screen": pictures.gif_with_claiming_frame(60_000, 60_000),
        **{kind: pictures.png_with_metadata_bomb(kind.encode(), 100 << 20) for kind in ("zTXt", "iTXt", "iCCP")},
        "many frames": pictures.animated("GIF", [(i, 0, 255 - i) for i in range(256)]),
    }
    assert outcomes(bombs) == [*(f"{name} {outcome}" for name, outcome in expected.items()), "limited"]


def test_one_within_the_limits_takes_memory() -> None:
    """The test above sees memory where there is any."""
    assert outcomes({"49 megapixels": pictures.bomb(7_000)}) == ["49 megapixels took memory", "limited"]
