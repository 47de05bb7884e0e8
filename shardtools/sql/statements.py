"""What a statement would do: the first wall, in front of a connection that cannot write (`connection`).

Owns the judgement, which is DuckDB's own: its parser says how many statements there are and of which type, its planner
which operators would run. So a word in a text or a column called "update" is no offense, and a `copy` hidden in an
`explain analyze`, a common table expression or beside a pivot is one. The price: a statement in which a word of writing
stands is planned twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from shardtools.errors import QueryError
from shardtools.sql.connection import ReadOnlyConnection

_PRAGMAS = frozenset(
    {
        "collations",
        "database_list",
        "database_size",
        "functions",
        "metadata_info",
        "platform",
        "show",
        "show_databases",
        "show_tables",
        "show_tables_expanded",
        "storage_info",
        "table_info",
        "user_agent",
        "version",
    }
)
"""Those that tell something; the others change the session or copy databases."""

_WORDS = re.compile(
    r"\b(?:alter|attach|call|checkpoint|copy|create\w*|delete|deregister\w*|destroy\w*|detach|drop|execute|export|import"
    r"|insert|install|json_execute_serialized_sql|load|merge|prepare|query|register\w*|truncate\w*|update|vacuum"
    r"|write_log)\b",
    re.IGNORECASE,
)
"""Without one of these words, in a text or outside, nothing of a `select` can write (`query('copy ...')` has one)."""

_WRITING = re.compile(
    r"INSERT|UPDATE|DELETE|MERGE_INTO|COPY|CREATE|EXPORT|ATTACH|DETACH|DROP|ALTER|VACUUM|LOAD|TRANSACTION|PREPARE"
    r"|EXECUTE|CHECKPOINT|TRUNCATE|REGISTER|DESTROY|LOGGING|^SET$"
)
"""Operators of a plan that do something else than reading."""

_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|\s+|(\w+|[^\w\s])", re.DOTALL)


def check_kind(connection: ReadOnlyConnection, sql: str) -> str:
    """Refuses what is not one statement of a kind that reads.

    Returns:
        What `check_plan` is to judge: the statement, without the `explain` in front of it; empty for a pragma.

    Raises:
        QueryError: There are several statements or none, or this one is of another kind.
        duckdb.Error: The SQL is wrong.
    """
    kind = _type_of(connection, sql)
    asked = sql
    if _first_words(sql, 1) == ["explain"]:
        # `explain analyze` runs what it explains, so that is what is judged.
        asked = _explained_part(sql)
        kind = _type_of(connection, asked)
    if kind == duckdb.StatementType.PRAGMA:
        # `import database` and `copy from database` are of this type too.
        words = _first_words(asked, 2)
        if words[0] == "pragma" and words[-1] in _PRAGMAS:
            return ""
        raise _refusal(" ".join(words))
    # A pivot is made of several statements, of which one gives the rows; a `copy` of a pivot is too.
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI):
        raise _refusal(kind.name.lower())
    return asked


def check_plan(connection: ReadOnlyConnection, asked: str, parameters: Mapping[str, Any] | None) -> None:
    """Refuses a statement whose plan would write; its tables and views are there.

    Raises:
        QueryError: It would.
        duckdb.Error: The SQL cannot be planned.
    """
    if not _WORDS.search(asked):
        return
    for _, plan in connection.fetch(f"explain (format json) {asked}", parameters):
        for name in _operators(plan):
            if _WRITING.search(name):
                raise _refusal(name.lower().replace("_", " "))


def _type_of(connection: ReadOnlyConnection, sql: str) -> duckdb.StatementType:
    statements = connection.call(duckdb.DuckDBPyConnection.extract_statements, sql)
    if len(statements) != 1:
        raise QueryError(f"cannot run the SQL: expected one statement, found {len(statements)}: run them one by one")
    return statements[0].type


def _explained_part(sql: str) -> str:
    """What follows `explain`, `analyze` and the options in parentheses."""
    tokens = [match for match in _TOKEN.finditer(sql) if match[1]][1:]
    while tokens and tokens[0][1].lower() in ("analyze", "analyse", "verbose"):
        tokens.pop(0)
    # Options, as in `explain (analyze, format json)`; a select in parentheses begins with another word.
    if len(tokens) > 1 and tokens[0][1] == "(" and tokens[1][1].lower() in ("analyze", "analyse", "format", "verbose"):
        while tokens and tokens.pop(0)[1] != ")":
            pass
    return sql[tokens[0].start() :] if tokens else ""


def _first_words(sql: str, count: int) -> list[str]:
    words = (match[1].lower() for match in _TOKEN.finditer(sql) if match[1])
    return [word for word, _ in zip(words, range(count), strict=False)]


def _operators(plan: str) -> Iterator[str]:
    """The names in a plan, as `explain (format json)` gives it."""
    left = list(json.loads(plan))
    while left:
        node = left.pop()
        yield str(node["name"])
        left += node["children"]


def _refusal(found: str) -> QueryError:
    return QueryError(
        f"cannot run the SQL: expected a statement that reads (select, describe, ...), found {found}: "
        "nothing is changed from here; to keep rows, select them with --output rows.parquet"
    )
