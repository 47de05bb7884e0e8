"""Named questions: the files of `queries/`, with the parameters that their headers declare.

Owns the header's form (`docs/sql.md`). The price of a header that people read and the program reads too: a misspelt
declaration is an error when the file is loaded, not a comment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from shardtools.dataset import open_dataset
from shardtools.errors import OptionError, QueryError
from shardtools.overlays import check_name, overlay_names
from shardtools.quoting import quoted_name

_PARAMETER_TYPES: dict[str, type] = {"integer": int, "number": float, "text": str}
_DECLARATION = re.compile(r"--   \$(\w+) \((\w+), default (.+?)\)  +(.+)")
_COLUMN = re.compile(r"--   (\w+)  +(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A `$name` of a query.

    Attributes:
        name: Without the dollar.
        type_name: "integer", "number" or "text".
        default: Its value where none is given; `None` stands for SQL's null.
        meaning: One line.
    """

    name: str
    type_name: str
    default: int | float | str | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQuery:
    """One file of `queries/`.

    Attributes:
        name: The file's stem.
        question: First line of the header.
        parameters: In the order of the header.
        columns: Column name -> meaning, in the order of the result.
        sql: The whole file.
        overlays: Name of each overlay that it reads -> the command that makes it.
    """

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    columns: Mapping[str, str]
    sql: str
    overlays: Mapping[str, str]

    def check_overlays(self, urls: Sequence[str]) -> tuple[str, ...]:
        """Looks whether the datasets have the overlays that the query reads.

        Returns:
            One line on each dataset that lacks one which another has: the result says nothing of its samples.

        Raises:
            QueryError: None of the datasets has an overlay; the message says what makes it.
            DatasetError: There is no dataset.
        """
        if not self.overlays:
            return ()
        there = {url: overlay_names(open_dataset(url, incomplete=True).storage) for url in urls}
        notes = []
        for name, command in self.overlays.items():
            lacking = [url for url, names in there.items() if name not in names]
            # None has it: the query has nothing to say. Some: it speaks of the others, and says so.
            if len(lacking) == len(there):
                raise QueryError(
                    f"query {self.name} reads the overlay {name!r}, which {', '.join(lacking)} "
                    f"{'has' if len(lacking) == 1 else 'have'} not: run {command} first"
                )
            notes += [f"{url} has no overlay {name!r}: {command} makes it" for url in lacking]
        return tuple(notes)

    def with_overlays(self, urls: Sequence[str], given: Mapping[str, str]) -> NamedQuery:
        """The query on overlays of other names, for one that is written by several models, say.

        Args:
            urls: The datasets.
            given: Name in the query -> name of the overlay that it is asked of. A name that is not given, and that no
                dataset has, is taken for the only overlay whose name begins with it and "_".

        Raises:
            QueryError: The query names no such overlay, or several begin with a name.
            OptionError: No overlay can have a name that is given.
            DatasetError: There is no dataset.
        """
        unknown = next((name for name in given if name not in self.overlays), None)
        if unknown is not None:
            reads = f"it reads {', '.join(self.overlays)}" if self.overlays else "it reads none"
            raise QueryError(f"query {self.name} reads no overlay {unknown!r}: {reads}")
        chosen = dict(given)
        there = {name for url in urls for name in overlay_names(open_dataset(url, incomplete=True).storage)}
        for name in self.overlays:
            alike = sorted(one for one in there if one.startswith(f"{name}_"))
            if name in chosen or name in there or not alike:
                continue
            if len(alike) > 1:
                raise QueryError(
                    f"query {self.name} reads {name}, found {', '.join(alike)}: give --on {name}={alike[0]}, or "
                    "another of them"
                )
            chosen[name] = alike[0]
        sql = self.sql
        for name, other in chosen.items():
            # Nothing in a quoted name is a backslash, so it is the replacement as it is.
            sql = re.sub(rf"\boverlays\.{re.escape(name)}\b", f"overlays.{quoted_name(check_name(other))}", sql)
        overlays = {chosen.get(name, name): command for name, command in self.overlays.items()}
        return replace(self, sql=sql, overlays=overlays)

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of all parameters: those given (text is read as the declared type), the defaults otherwise.

        Raises:
            QueryError: The query has no such parameter.
            OptionError: A value does not have the declared type.
        """
        names = [parameter.name for parameter in self.parameters]
        unknown = next((name for name in given if name not in names), None)
        if unknown is not None:
            has = f"it has {', '.join(f'${name}' for name in names)}" if names else "it has none"
            raise QueryError(f"query {self.name} has no parameter ${unknown}: {has}")
        return {
            parameter.name: _read_value(parameter, given[parameter.name], self.name)
            if parameter.name in given
            else parameter.default
            for parameter in self.parameters
        }


def named_queries() -> dict[str, NamedQuery]:
    """Name -> query, sorted by name."""
    return dict(_load_all())


def find_query(name: str) -> NamedQuery:
    """The query called `name`; "-" and "_" are the same, and so is a trailing ".sql".

    Raises:
        QueryError: There is none; the message gives near names.
    """
    queries = _load_all()
    wanted = name.removesuffix(".sql").replace("-", "_")
    if wanted in queries:
        return queries[wanted]
    near = difflib.get_close_matches(wanted, queries, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(queries)}"
    raise QueryError(f"no query is called {name!r}; {hint}")


def parse_query(name: str, text: str) -> NamedQuery:
    """A query out of a file's text.

    Raises:
        QueryError: The header does not have the documented form.
    """
    header = [line.rstrip() for line in text.splitlines() if line.startswith("--")]
    question = header[0].removeprefix("--").strip() if header else ""
    parameters: list[Parameter] = []
    columns: dict[str, str] = {}
    overlays: dict[str, str] = {}
    section = ""
    for line in header[1:]:
        if line in ("-- Overlays:", "-- Parameters:", "-- Returns:"):
            section = line
        elif line.startswith("--   ") and section:
            declared = (_DECLARATION if section == "-- Parameters:" else _COLUMN).fullmatch(line)
            if declared is None:
                raise QueryError(f"queries/{name}.sql: expected a line as docs/sql.md describes, found {line!r}")
            if section == "-- Overlays:":
                overlays[declared[1]] = declared[2]
            elif section == "-- Returns:":
                columns[declared[1]] = declared[2]
            else:
                parameters.append(_parse_parameter(declared, name))
    if not question or not columns:
        raise QueryError(f"queries/{name}.sql: expected a header with the question and '-- Returns:', found neither")
    return NamedQuery(
        name=name, question=question, parameters=tuple(parameters), columns=columns, sql=text, overlays=overlays
    )


@cache
def _load_all() -> dict[str, NamedQuery]:
    folder = resources.files("shardtools") / "queries"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    stems = {file.name.removesuffix(".sql"): file for file in files}
    return {stem: parse_query(stem, file.read_text(encoding="utf-8")) for stem, file in stems.items()}


def _parse_parameter(declared: re.Match[str], query_name: str) -> Parameter:
    name, type_name, default, meaning = declared.groups()
    if type_name not in _PARAMETER_TYPES:
        raise QueryError(
            f"queries/{query_name}.sql: ${name} is one of {', '.join(_PARAMETER_TYPES)}, found {type_name!r}"
        )
    value = None if default == "none" else _PARAMETER_TYPES[type_name](default)
    return Parameter(name=name, type_name=type_name, default=value, meaning=meaning)


def _read_value(parameter: Parameter, value: Any, query_name: str) -> Any:
    if value is None:
        return None
    try:
        return _PARAMETER_TYPES[parameter.type_name](value)
    except (TypeError, ValueError):
        raise OptionError(
            f"${parameter.name} of query {query_name} is {_an(parameter.type_name)}, found {value!r}"
        ) from None


def _an(noun: str) -> str:
    return f"an {noun}" if noun.startswith(tuple("aeiou")) else f"a {noun}"
