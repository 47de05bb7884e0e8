"""Headers of the named questions: parameters, mistakes in them, and how a question is found by its name."""

from __future__ import annotations

import pytest

from shardtools.errors import OptionError, QueryError
from shardtools.sql import find_query
from shardtools.sql.named import parse_query

HEADER = """-- Which?
--
-- Parameters:
--   $count (integer, default 2)  how many
--   $share (number, default 0.5)  how much
--   $name (text, default none)  which
-- Returns:
--   x  a number
select $count as x
"""


def test_parameters_are_read_from_the_header() -> None:
    asked = parse_query("which", HEADER)
    assert asked.question == "Which?"
    assert asked.bind({}) == {"count": 2, "share": 0.5, "name": None}
    assert asked.bind({"count": "3", "share": "1", "name": "7"}) == {"count": 3, "share": 1.0, "name": "7"}
    with pytest.raises(OptionError, match=r"\$count of query which is an integer, found 'many'"):
        asked.bind({"count": "many"})
    with pytest.raises(QueryError, match=r"has no parameter \$size: it has \$count, \$share, \$name"):
        asked.bind({"size": "1"})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(integer, default 2)", "(integer 2)"),
        ("(integer, default 2)", "(whole, default 2)"),
        ("-- Returns:\n--   x  a number\n", ""),
        ("--   x  a number", "--   x"),
    ],
)
def test_a_misspelt_header_is_an_error(old: str, new: str) -> None:
    with pytest.raises(QueryError, match=r"queries/which\.sql"):
        parse_query("which", HEADER.replace(old, new))


def test_names_are_forgiving_and_unknown_ones_get_a_hint() -> None:
    assert find_query("real-vs-generated") is find_query("real_vs_generated.sql")
    with pytest.raises(QueryError, match="did you mean classes"):
        find_query("clases")
    with pytest.raises(QueryError, match="there are background_gap, class_imbalance, "):
        find_query("xyzzy")
