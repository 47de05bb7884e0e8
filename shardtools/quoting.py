"""Texts of people and files as parts of an SQL statement, and of a command that a message proposes.

Owns DuckDB's quoting and the shell's. Values go into a statement as parameters wherever DuckDB takes them there; what
is here is for the places where it does not, at the price that whoever builds a statement or a command has to remember
it.
"""

from __future__ import annotations

import shlex

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def shell_word(text: str) -> str:
    """A name as one word of a shell's command line, whatever it holds; the line stays one line.

    A name that begins with a dash would be an option, so it is given as a path.
    """
    if text.startswith("-"):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    # Bash, zsh and ksh read this form; the plain one would go over several lines, or hide what it holds.
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    number = ord(character)
    # A file name that is no UTF-8 comes with its bytes as lone surrogates.
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def quoted_text(text: str) -> str:
    """A text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """A column's or a table's name."""
    return '"' + name.replace('"', '""') + '"'
