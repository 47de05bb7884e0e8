"""The command line as a whole: help, exit codes, what it does not import, completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shardtools.cli import COMMANDS, main

HEAVY = {"diffusers", "duckdb", "matplotlib", "nltk", "numpy", "obstore", "pyarrow", "rich", "torch", "transformers"}


def _exit_code(args: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def _heavy_modules_after(args: list[str]) -> set[str]:
    """The heavy top-level modules that one run in a fresh interpreter has imported when it exits."""
    program = (
        "import atexit, sys\n"
        "from shardtools.cli import main\n"
        f"atexit.register(lambda: print('\\nMODULES', *(sys.modules.keys() & {sorted(HEAVY)})))\n"
        f"main({args!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def _completion(**variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the program as a shell does to complete a command line."""
    return subprocess.run(
        [sys.executable, "-m", "shardtools"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["--help"]) == 0

    output = " ".join(capsys.readouterr().out.split())
    for name, (_, help_line) in COMMANDS.items():
        assert f"{name} {help_line}" in output


def test_help_imports_nothing_heavy() -> None:
    # Stands for "answers in under 0.3 s", which a busy machine cannot be held to.
    assert _heavy_modules_after(["--help"]) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    assert _heavy_modules_after([name, "--help"]) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_holds_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([name, "--help"]) == 0

    output = capsys.readouterr().out
    assert re.search(rf"^\s+\$? ?shardtools {name} \S", output, re.MULTILINE), output
    assert output.startswith("Usage: shardtools " + name)


@pytest.mark.parametrize("name", COMMANDS)
def test_unknown_option_is_a_usage_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([name, "--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["no-such-command"]) == 2
    assert "no-such-command" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([]) == 2
    assert "gen-sd" in capsys.readouterr().err


def test_known_error_is_one_line_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["verify", str(tmp_path / "nothing")]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"shardtools: .*nothing.*\n", captured.err)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["--version"]) == 0
    assert re.search(r"\d+\.\d+\.\d+$", capsys.readouterr().out.strip())


def test_shell_completion_script() -> None:
    script = _completion(_SHARDTOOLS_COMPLETE="bash_source").stdout

    assert "_SHARDTOOLS_COMPLETE=bash_complete" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_shell_completes_commands_and_options() -> None:
    commands = _completion(_SHARDTOOLS_COMPLETE="bash_complete", COMP_WORDS="shardtools ve", COMP_CWORD="1").stdout
    options = _completion(
        _SHARDTOOLS_COMPLETE="bash_complete", COMP_WORDS="shardtools gen-sd --guid", COMP_CWORD="2"
    ).stdout

    assert commands.split() == ["plain,verify"]
    assert options.split() == ["plain,--guidance-scale"]


@pytest.mark.parametrize(("words", "is_shown"), [((), False), (("-W", "default"), True)])
def test_warnings_of_libraries_are_for_who_asks(words: tuple[str, ...], is_shown: bool) -> None:
    program = (
        "import warnings\n"
        "from shardtools import cli\n"
        "cli.cli.callback = lambda: warnings.warn('a library will change', FutureWarning)\n"
        "import sys; sys.argv = ['shardtools', 'recipes']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, *words, "-c", program], capture_output=True, text=True, check=True)
    assert ("a library will change" in done.stderr) is is_shown and (is_shown or done.stderr == "")
