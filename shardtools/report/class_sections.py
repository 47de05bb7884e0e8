"""The sections on classes and prompts: which classes lie near which, and what each prompt gave."""

from __future__ import annotations

from collections.abc import Mapping

from shardtools.report.charts import bar, heat_map
from shardtools.report.class_map import ELSEWHERE, ClassMap
from shardtools.report.facts import DatasetFacts
from shardtools.report.markup import Markup, element, isolated, join, table
from shardtools.report.prompts import PromptGroup, PromptYield
from shardtools.report.reading import Missing

_HEAT_MAP_CLASSES = 40
"""More classes than these are listed by pairs alone."""


def missing(section: Missing) -> Markup:
    """What a section says instead of its content."""
    return element("p", section.reason, class_="note problem" if section.is_problem else "note")


def classes_section(facts: DatasetFacts, class_map: ClassMap | Missing) -> Markup:
    """The section `classes`."""
    content = [missing(class_map)] if isinstance(class_map, Missing) else _classes(facts, class_map)
    return element("section", element("h2", "Classes", tabindex="-1"), *content, id="classes", class_="view")


def _classes(facts: DatasetFacts, class_map: ClassMap) -> list[Markup]:
    names = facts.class_names()
    involved = sorted({label for pair in class_map.counts for label in pair})
    content = [
        element(
            "p",
            f"{class_map.share:.1%} of the images lie nearest to their own class; the rest lie nearer to another one.",
            class_="lead",
        )
    ]
    if len(involved) <= _HEAT_MAP_CLASSES:
        content.append(
            heat_map(
                "Labels (rows) and nearest classes (columns)",
                [_name(names, label) for label in involved],
                [[class_map.counts.get((row, column), 0) for column in involved] for row in involved],
                corner="label / nearest",
            )
        )
    pairs = [
        [
            join((isolated(_name(names, pair.given)), " \u2192 ", isolated(_name(names, pair.nearest)))),
            f"{pair.count:,}",
            f"{pair.share:.1%}",
            element(
                "button",
                "Suspects",
                type="button",
                data_given=pair.given,
                data_suggested=pair.nearest,
                aria_label=f"Suspects of {_name(names, pair.given)} suggested as {_name(names, pair.nearest)}",
            ),
        ]
        for pair in class_map.pairs
    ]
    if pairs:
        headings = ["label \u2192 nearest", "images", "of the label", ""]
        content.append(table(headings, pairs, caption="Pairs of classes that are confused most", class_="figures"))
    weakest = [
        [
            isolated(_name(names, fit.class_index)),
            f"{fit.count:,}",
            f"{fit.share:.1%}",
            _figure(fit.margin),
            _figure(fit.own_similarity),
        ]
        for fit in class_map.weakest
    ]
    headings = ["class", "images", "nearest to itself", "mean margin", "mean similarity to itself"]
    caption = "Classes whose images fit them least"
    return [*content, table(headings, weakest, caption=caption, class_="figures")]


def _name(names: Mapping[int, str], label: int) -> str:
    return "a class of the reference" if label == ELSEWHERE else names.get(label, f"class {label}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def prompts_section(groups: tuple[PromptGroup, ...]) -> Markup:
    """The section `prompts`."""
    lead = (
        "Yield: the share of the images asked for that were made and, where the overlay nearest_class says so, lie "
        "nearest to their own class. The lowest come first."
    )
    content = [element("p", lead, class_="lead")] if groups else [element("p", "No row has a prompt.", class_="note")]
    content += [_group(group) for group in groups]
    return element("section", element("h2", "Prompts", tabindex="-1"), *content, id="prompts", class_="view")


def _group(group: PromptGroup) -> Markup:
    has_nearest = any(one.nearest_share is not None for one in group.shown)
    has_suspects = any(one.suspect_share is not None for one in group.shown)
    has_flags = any(one.num_flagged for one in group.shown)
    headings = [group.heading, "", "yield", "asked for", "made"]
    headings += ["flagged unsafe"] * has_flags + ["nearest to its class"] * has_nearest + ["suspects"] * has_suspects
    rows = [_yield_row(one, has_flags, has_nearest, has_suspects) for one in group.shown]
    left = group.num_all - len(rows)
    caption = f"By {group.heading}" + (f": the lowest {len(rows)} of {group.num_all:,}" if left else "")
    return table(headings, rows, caption=caption, class_="figures")


def _yield_row(one: PromptYield, has_flags: bool, has_nearest: bool, has_suspects: bool) -> list[str]:
    text = f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
    row: list[str] = [
        isolated(text),
        bar([one.good_share], 1.0),
        f"{one.good_share:.1%}",
        f"{one.num_rows:,}",
        f"{one.num_images:,}",
    ]
    row += [f"{one.num_flagged:,}"] * has_flags
    row += [_percent(one.nearest_share)] * has_nearest
    return row + [_percent(one.suspect_share)] * has_suspects


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
