"""The committed stubs equal, byte for byte, what the generator makes of the committed contract."""

from pathlib import Path

from protos.generate import PROTOS, SOURCES, generate

COMMITTED = PROTOS.parent / "sensorium" / "v1"
WRITTEN_BY_HAND = {"__init__.py"}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_committed_stubs_equal_generated_ones(tmp_path: Path) -> None:
    generate(tmp_path)
    generated, committed = _contents(tmp_path / "sensorium" / "v1"), _contents(COMMITTED)
    assert set(committed) - WRITTEN_BY_HAND == set(generated), "stubs of a file are missing or left over"
    stale = [name for name, content in generated.items() if committed[name] != content]
    assert stale == [], "run `python protos/generate.py`"


def test_every_proto_file_has_its_stubs(tmp_path: Path) -> None:
    generate(tmp_path)
    suffixes = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    expected = {Path(source).stem + suffix for source in SOURCES for suffix in suffixes}
    assert set(_contents(tmp_path / "sensorium" / "v1")) == expected


def test_generation_leaves_other_files_alone(tmp_path: Path) -> None:
    package = tmp_path / "sensorium" / "v1" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text('"""By hand."""\n')
    generate(tmp_path)
    assert package.read_text() == '"""By hand."""\n'
