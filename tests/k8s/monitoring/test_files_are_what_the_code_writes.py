from k8s.monitoring.files import FOLDER, contents


def test_rules_and_boards_are_what_the_code_writes() -> None:
    for path, text in contents().items():
        assert path.read_text() == text, f"{path.name} is old: run `make monitoring`"


def test_no_file_is_left_of_something_that_is_gone() -> None:
    written = set(contents())
    assert {*FOLDER.glob("rules/*.yaml"), *FOLDER.glob("dashboards/*.json")} <= written
