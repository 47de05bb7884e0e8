"""Small inline charts: bars in rows, histograms, heat maps.

Owns their drawing. Marks are SVG that stretches, labels are HTML beside it, so that text keeps its size on a phone;
colours are classes of the stylesheet, since the page's policy forbids inline styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardtools.report.markup import Markup, element, escape, isolated, join

NUM_SHADES = 10
"""Steps of a heat map."""

NUM_SERIES = 4
"""Colours of stacked bars; further series share the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of a histogram: from `low` up to `high`, with so many images."""

    low: float
    high: float
    count: int


def bar(values: Sequence[float], most: float) -> Markup:
    """A horizontal bar of stacked parts.

    Args:
        values: Length of each part, at least 0.
        most: Length of the full width.
    """
    start, parts = 0.0, []
    for number, value in enumerate(values):
        width = 100 * value / most if most > 0 else 0.0
        series = f"series{min(number, NUM_SERIES - 1)}"
        parts.append(element("rect", x=_digits(start), y=0, width=_digits(width), height=10, class_=series))
        start += width
    return element("svg", *parts, viewBox="0 0 100 10", preserveAspectRatio="none", class_="bar", aria_hidden="true")


def bar_table(title: str, rows: Sequence[tuple[str, Sequence[float], str]], *, heading: str) -> Markup:
    """Names, bars and figures in rows.

    Args:
        title: Caption.
        rows: Name, lengths of the bar's parts, and the figure as text.
        heading: What the names are.
    """
    most = max((sum(values) for _, values, _ in rows), default=0.0)
    body = [
        element(
            "tr",
            element("th", isolated(name), scope="row"),
            element("td", bar(values, most), class_="bars"),
            element("td", figure, class_="number"),
        )
        for name, values, figure in rows
    ]
    # For readers of the screen, who hear a table of names and figures: the bars only repeat the latter.
    head = element(
        "tr",
        *(
            element("th", element("span", text, class_="unseen"), scope="col", class_=class_)
            for text, class_ in ((heading, None), ("bar", None), ("images", "number"))
        ),
    )
    return element(
        "table",
        element("caption", title),
        element("thead", head),
        element("tbody", *body),
        class_="bar-table",
    )


def legend(names: Sequence[str]) -> Markup:
    """What the colours of stacked bars stand for."""
    entries = [
        element("li", element("span", class_=f"swatch series{min(number, NUM_SERIES - 1)}"), isolated(name))
        for number, name in enumerate(names)
    ]
    return element("ul", *entries, class_="legend")


def histogram(title: str, bins: Sequence[Bin], *, label: str, ends: tuple[str, str], middle: str) -> Markup:
    """Upright bars over a range.

    Args:
        title: Caption.
        bins: In order, without gaps.
        label: What it shows in one sentence, for those who do not see it.
        ends: Text at both ends of the axis.
        middle: Text below, such as the median.
    """
    most = max((one.count for one in bins), default=0)
    bars = []
    for number, one in enumerate(bins):
        # A bin with one image of a million stays visible.
        height = max(100 * one.count / most, 1.0) if one.count else 0.0
        bars.append(
            element(
                "rect",
                element("title", f"{_digits(one.low)} to {_digits(one.high)}: {one.count:,}"),
                x=number * 10 + 0.5,
                y=_digits(100 - height),
                width=9,
                height=_digits(height),
                class_="series0",
            )
        )
    drawing = element(
        "svg",
        *bars,
        viewBox=f"0 0 {10 * max(len(bins), 1)} 100",
        preserveAspectRatio="none",
        class_="histogram",
        role="img",
        aria_label=label,
    )
    axis = element("div", *(element("span", text) for text in (ends[0], middle, ends[1])), class_="axis")
    return element("figure", element("figcaption", title), drawing, axis)


def heat_map(title: str, names: Sequence[str], counts: Sequence[Sequence[int]], *, corner: str) -> Markup:
    """A square table of counts, each row shaded by its own sum.

    Args:
        title: Caption.
        names: Names of rows and of columns.
        counts: A row for each name, [N][N].
        corner: What rows and columns are.
    """
    head = join(
        element("th", element("span", isolated(name)), scope="col", class_="tilted", title=name) for name in names
    )
    rows = [
        element("tr", element("th", isolated(name), scope="row", title=name), *_heat_cells(names, number, counts))
        for number, name in enumerate(names)
    ]
    content = element(
        "table",
        element("caption", title),
        element("thead", element("tr", element("td", corner, class_="corner"), head)),
        element("tbody", *rows),
        class_="heat-map",
    )
    return element("div", content, class_="scroller", tabindex="0", role="region", aria_label=title)


def _heat_cells(names: Sequence[str], row: int, counts: Sequence[Sequence[int]]) -> list[Markup]:
    total = sum(counts[row])
    cells = []
    for column, count in enumerate(counts[row]):
        share = count / total if total else 0.0
        shade = min(int(share * NUM_SHADES), NUM_SHADES - 1)
        kind = "right" if column == row else "wrong"
        title = f"{names[row]} nearest to {names[column]}: {count:,} of {total:,} ({share:.1%})"
        cells.append(element("td", f"{count:,}" if count else "", class_=f"{kind} shade{shade}", title=title))
    return cells


def _digits(value: float) -> Markup:
    """Up to four significant digits, never with an exponent below a million."""
    return escape(f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}")
