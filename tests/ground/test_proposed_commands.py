"""Commands that messages propose: quoted for the shell, whatever a dataset is called."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from shardtools.quoting import shell_word

ROOT = Path(__file__).parents[2]
_OPEN_COMMAND = re.compile(r"shardtools [a-z][a-z-]*(?: [^`\n:;()]*)?$")
"""A text that ends within a proposed command: what follows is a word of it."""

_OURS = {
    "query.name",
    "kind",
    "target",
    "bench.num_threads",
    "row.quality",
    "row.max_side",
    "asked",
    "command",
    "question",
    "info.name",
}
"""Words that hold nothing of a user's that a shell would read: an overlay's name is letters, digits, _ and -."""


def proposed_words(file: Path) -> list[tuple[int, str]]:
    """Line and source of each expression that stands in a proposed command of a file and is not quoted there."""
    text = file.read_text()
    quoted = {"place", "parent", "target", "typed", "elsewhere", "side"} if "shell_word(" in text else set()
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            source = ast.unparse(part.value)
            if _OPEN_COMMAND.search(before) and not source.startswith("shell_word(") and source not in _OURS | quoted:
                found.append((node.lineno, source))
            before += "X"
    return found


def test_every_word_of_a_user_in_a_proposed_command_is_quoted() -> None:
    files = [*(ROOT / "shardtools").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]
    assert len(files) > 100
    found = [f"{file.relative_to(ROOT)}:{line}: {source}" for file in files for line, source in proposed_words(file)]
    assert found == []


def test_the_search_finds_a_word_that_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text('x = f"run `shardtools verify {url}` or shardtools sql 1 {shell_word(url)}"\n')
    assert proposed_words(file) == [(1, "url")]


NAMES = (
    "plain",
    "my $(touch pwned) set",
    'it\'s `so` "said"',
    "a;b & c | d > e",
    "-x",
    "--out",
    "two\nlines\tand 'quotes' \\ back",
    "~home",
    "*",
    "!!",
    "\x1b[31mred",
    "\u202egnp.exe",
    "schön \U0001f600",
    "not utf-8 \udcff",
    "",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_shell_reads_the_name_back(name: str) -> None:
    word = shell_word(name)
    assert "\n" not in word and word.isprintable()
    answer = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    expected = f"./{name}" if name.startswith("-") else name
    assert answer.stdout == expected.encode("utf-8", "surrogateescape")
