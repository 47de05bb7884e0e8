"""A comparison as cells of text, fitted to a terminal, and as Markdown.

Owns the fitting. A table that is wider than the terminal becomes several, each with the names of the networks; one with
few networks and many figures is turned, a figure a line. The price: a network's figures may stand apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardtools.evaluation.results.comparing import Comparison, cell_text
from shardtools.evaluation.results.joining import OWN
from shardtools.words import counted

_GAP = 2
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One table of text.

    Attributes:
        header: One title a column.
        rows: Cells, as many as titles.
        num_names: Columns at the left that hold names; the others hold numbers.
    """

    header: list[str]
    rows: list[list[str]]
    num_names: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """One table of text that says what it is.

    Attributes:
        title: What it shows.
        header: One title a column.
        rows: Cells, as many as titles.
    """

    title: str
    header: list[str]
    rows: list[list[str]]


def text_blocks(found: Comparison, *, width: int | None = None, intervals: bool = False) -> list[Block]:
    """The table in pieces that fit.

    Args:
        found: What is compared.
        width: Columns of a terminal; `None` makes one piece.
        intervals: Whether figures have theirs.
    """
    titles = [column.title for column in found.columns]
    cells = [
        [cell_text(column, cell, intervals=intervals) for column, cell in zip(found.columns, line.cells, strict=True)]
        for line in found.lines
    ]
    names = _names(found)
    if (
        width is not None
        and len(cells) <= _FEW
        and _width([*names, *map(list, zip(titles, *cells, strict=True))]) > width
    ):
        return [_turned(names, titles, cells)]
    blocks = []
    for start, stop in _pieces(names, titles, cells, width):
        header = [name[0] for name in names] + titles[start:stop]
        rows = [[name[number + 1] for name in names] + row[start:stop] for number, row in enumerate(cells)]
        blocks.append(Block(header=header, rows=rows, num_names=len(names)))
    return blocks


def markdown(found: Comparison, *, intervals: bool = False) -> str:
    """The whole table as Markdown, with its remarks as a list below it."""
    [block] = text_blocks(found, intervals=intervals)
    return "\n".join([block_markdown(block), "", *(f"- {line}" for line in remarks(found))])


def block_markdown(block: Block) -> str:
    """A piece of a table as Markdown, numbers to the right; without a line break at the end."""
    rule = ["---"] * block.num_names + ["---:"] * (len(block.header) - block.num_names)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (block.header, rule, *block.rows)
    )


def remarks(found: Comparison) -> list[str]:
    """Where the figures are from, and what was left out, a line each."""
    lines = []
    for group, sources in found.sources.items():
        shown = [f"{source} ({_few(own, ' / ')})" if own else source for source, own in sources.items()]
        lines.append(f"{group or 'own'}: {_few(shown, ', ')}")
    for group, number in found.left_out.items():
        lines.append(f"{group}: {counted(number, 'more network')}: raise --limit, or choose with --model")
    return lines


def _few(texts: Sequence[str], between: str) -> str:
    more = f"{between}{len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return between.join(texts[:_FEW]) + more


def _names(found: Comparison) -> list[list[str]]:
    """The columns of names, titles first: group and protocol only where they tell lines apart."""
    names = [["model", *(line.model for line in found.lines)]]
    if any(line.group != OWN for line in found.lines):
        names.insert(0, ["from", *(line.group or "own" for line in found.lines)])
    if any(line.protocol for line in found.lines):
        names.append(["protocol", *(line.protocol for line in found.lines)])
    return names


def _turned(names: Sequence[Sequence[str]], titles: Sequence[str], cells: Sequence[Sequence[str]]) -> Block:
    """A figure a line: names of a network, one below another, become its title."""
    header = ["figure", *(" ".join(filter(None, own)) for own in list(zip(*names, strict=True))[1:])]
    return Block(header=header, rows=[list(row) for row in zip(titles, *cells, strict=True)], num_names=1)


def _pieces(
    names: Sequence[Sequence[str]], titles: Sequence[str], cells: Sequence[Sequence[str]], width: int | None
) -> list[tuple[int, int]]:
    """Ranges of columns that fit beside the names; a column that does not fit stands alone."""
    if width is None:
        return [(0, len(titles))]
    sizes = [max(map(len, column)) + _GAP for column in zip(titles, *cells, strict=True)]
    room = width - _width(names)
    pieces, start, used = [], 0, 0
    for number, size in enumerate(sizes):
        if number > start and used + size > room:
            pieces.append((start, number))
            start, used = number, 0
        used += size
    return [*pieces, (start, len(titles))]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) for column in columns) + _GAP * (len(columns) - 1)
