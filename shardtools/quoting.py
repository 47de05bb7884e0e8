"""Texts of people and files as parts of an SQL statement.

Owns DuckDB's quoting. Values go into a statement as parameters wherever DuckDB takes them there; these two are for the
places where it does not, at the price that whoever builds a statement has to remember them.
"""

from __future__ import annotations


def quoted_text(text: str) -> str:
    """A text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """A column's or a table's name."""
    return '"' + name.replace('"', '""') + '"'
