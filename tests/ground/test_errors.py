import pytest

from shardtools.errors import first_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", "ValueError"),
        ("  \n ", "ValueError"),
        ("\nlate\nmore", "late"),
        ("plain", "plain"),
        ("a\x1b[31m red", "a[31m red"),
        ("x" * 1900, "x" * 1000),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line
