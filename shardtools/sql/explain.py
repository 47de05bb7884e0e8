"""DuckDB's errors as one line that names the nearest columns or tables.

Owns the wording. DuckDB's messages span lines and end in a sketch of the statement; the price of one line is that the
sketch is reduced to the text at fault, which DuckDB's reason quotes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from shardtools.errors import QueryError

_SKETCH = re.compile(r"\n\s*LINE \d+:.*", re.DOTALL)
_KIND = re.compile(r"^(?:[A-Z][A-Za-z-]* ){1,3}Error: ")
_CANDIDATES = re.compile(r"\s*(?:Candidate bindings|Did you mean)[: ]+(.*)", re.DOTALL)
_UNKNOWN_COLUMN = re.compile(r'column "?([\w.]+)"? not found|does not have a column named "?(\w+)"?')
_INSTALL_ADVICE = re.compile(r"\s*Please try installing and loading.*", re.DOTALL)
_DESCRIBE = '`shardtools sql "describe samples" DATASET` lists the columns'
_NEAREST = 3


def explain(
    error: Exception, columns: Sequence[str], find_overlays: Callable[[], Sequence[str]] | None = None
) -> QueryError:
    """The error to raise for one of DuckDB's.

    Args:
        error: What DuckDB (or Arrow, which passes it on) raised.
        columns: Names of the columns that the statement could mean.
        find_overlays: Gives the overlays' names; for a statement that speaks of overlays.
    """
    text = _KIND.sub("", _INSTALL_ADVICE.sub("", _SKETCH.sub("", str(error).strip())))
    candidates = _CANDIDATES.search(text)
    reason = " ".join(text[: candidates.start()].split() if candidates else text.split()).rstrip("!. ")
    return QueryError(f"cannot run the SQL: {reason}{_advice(reason, candidates, columns, find_overlays)}")


def _advice(
    reason: str,
    candidates: re.Match[str] | None,
    columns: Sequence[str],
    find_overlays: Callable[[], Sequence[str]] | None,
) -> str:
    column = _UNKNOWN_COLUMN.search(reason)
    if column:
        name = (column[1] or column[2]).rpartition(".")[2]
        near = difflib.get_close_matches(name.lower(), columns, _NEAREST, cutoff=0.6)
        return f"; nearest columns: {', '.join(near)}" if near else f"; {_DESCRIBE}"
    if "Table with name" in reason and find_overlays is not None:
        return f"; the tables are samples, events and datasets, {_listed(find_overlays())}"
    if "Table with name" in reason:
        return "; the tables are samples, events and datasets"
    if candidates:
        return f"; did you mean {' '.join(candidates[1].split()).replace(chr(34), '').rstrip('?')}?"
    if "requires the extension" in reason:
        return "; shardtools sql reads local files and the datasets it is given, and loads no extension"
    if "parameter" in reason.lower():
        return "; give each $name of the SQL once, as --param name=value"
    return ""


def _listed(overlays: Sequence[str]) -> str:
    if not overlays:
        return "and there are no overlays: `shardtools overlay import` makes one of a file"
    return "the overlays " + ", ".join(f'overlays."{name}"' if "-" in name else f"overlays.{name}" for name in overlays)
