"""The sections that people decide in: their texts, filters and empty lists, which the page's script fills."""

from __future__ import annotations

import math
from collections.abc import Iterable

from shardtools.report.class_sections import missing
from shardtools.report.expectations import expectations_table
from shardtools.report.facts import DatasetFacts
from shardtools.report.markup import Markup, element, isolated
from shardtools.report.outliers import OutlierKind
from shardtools.report.pairs import Pairs
from shardtools.report.reading import Missing
from shardtools.report.suspects import LIKELY, Suspects
from shardtools.words import counted

KEYS = (
    ("j, k, arrows", "next and previous card; up and down by rows"),
    ("d", "drop the image (of a pair: the one on the right)"),
    ("f", "drop the left one of a pair"),
    ("r", "take the suggested label"),
    ("l", "choose another label"),
    ("o", "the label is right: decided, and nothing exported"),
    ("u", "undo the last decision"),
    ("/", "search by key"),
    ("1 to 6", "go to a section"),
    ("e", "export the edits"),
    ("?", "this help"),
)
"""Key -> what it does."""

_DECISIONS = (
    ("", "any decision"),
    ("open", "not decided yet"),
    ("drop", "dropped"),
    ("relabel", "relabelled"),
    ("keep", "label is right"),
)


def suspects_section(facts: DatasetFacts, suspects: Suspects | Missing) -> Markup:
    """The section `suspects`."""
    if isinstance(suspects, Missing):
        return _section("suspects", "Suspect labels", missing(suspects))
    rest = suspects.num_all - len(suspects.shown)
    count = counted(suspects.num_all, "sample", spec=",")
    count = f"The {len(suspects.shown):,} most suspicious of {count}" if rest else count
    lead = f"{count} with another label suggested, or more likely wrong than right."
    if not suspects.shown:
        expected = expectations_table(suspects.expected, least_shown=math.inf)
        return _section("suspects", "Suspect labels", element("p", lead, class_="note"), expected)
    sorts = [
        ("noise_probability", "noise probability"),
        ("probability", "probability of the suggestion"),
        ("key", "key"),
    ]
    orders = [*sorts, *((f"score{number}", name) for number, name in enumerate(suspects.score_names))]
    filters = [
        _select("suspects-given", "Given label", [("", "any label")]),
        _select("suspects-suggested", "Suggested label", [("", "any label")]),
        _select("suspects-split", "Split", _splits(facts)),
        _select("suspects-decision", "Decision", _DECISIONS),
        _select("suspects-sort", "Sort by", orders),
        _select("suspects-order", "Order", [("down", "largest first"), ("up", "smallest first")]),
        _labeled(
            "suspects-least",
            "Noise probability at least",
            element("input", type="range", id="suspects-least", min=0, max=1, step=0.01, value=0),
            element("output", "0.00", for_="suspects-least", id="suspects-least-value"),
        ),
        _search("suspects-key"),
    ]
    expected = expectations_table(suspects.expected, least_shown=LIKELY)
    content = (_lead(lead), expected, _filters("suspects", filters), _list("suspects"))
    return _section("suspects", "Suspect labels", *content)


def pairs_section(facts: DatasetFacts, pairs: Pairs | Missing) -> Markup:
    """The section `duplicates`."""
    if isinstance(pairs, Missing):
        return _section("duplicates", "Duplicates", missing(pairs))
    rest = pairs.num_all - len(pairs.shown)
    lead = (
        f"{counted(pairs.num_all, 'pair', spec=',')}, {pairs.num_leaks:,} of them across splits (leaks), "
        "which come first."
    )
    if rest:
        lead += f" {len(pairs.shown):,} are on this page."
    if not pairs.shown:
        return _section("duplicates", "Duplicates", element("p", lead, class_="note"))
    filters = [
        _select("pairs-kind", "Pairs", [("", "all"), ("leak", "across splits"), ("label", "with different labels")]),
        _select("pairs-split", "Split", _splits(facts)),
        _select("pairs-class", "Label", [("", "any label")]),
        _select("pairs-decision", "Decision", [one for one in _DECISIONS if one[0] in ("", "open", "drop")]),
        _search("pairs-key"),
    ]
    return _section("duplicates", "Duplicates", _lead(lead), _filters("pairs", filters), _list("pairs"))


def outliers_section(kinds: tuple[OutlierKind, ...] | Missing) -> Markup:
    """The section `quality`."""
    if isinstance(kinds, Missing):
        return _section("quality", "Image quality", missing(kinds))
    if not kinds:
        return _section("quality", "Image quality", element("p", "No image was found wanting.", class_="note"))
    choices = [("", "all kinds"), *((str(number), kind.name) for number, kind in enumerate(kinds))]
    filters = [
        _select("outliers-kind", "Kind", choices),
        _select("outliers-class", "Label", [("", "any label")]),
        _search("outliers-key"),
    ]
    lists = [_outlier_list(number, kind) for number, kind in enumerate(kinds)]
    return _section("quality", "Image quality", _filters("outliers", filters), *lists)


def _outlier_list(number: int, kind: OutlierKind) -> Markup:
    count = "" if kind.num_all is None else f"{kind.num_all:,}"
    if kind.num_all is not None and kind.num_all > len(kind.shown):
        count += f", {len(kind.shown):,} shown"
    heading = element("h3", isolated(kind.name), " ", element("span", count, class_="count"))
    return element("div", heading, _list(f"outliers-{number}", small=True, label=kind.name), class_="kind")


def _section(anchor: str, title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title, tabindex="-1"), *content, id=anchor, class_="view")


def _lead(text: str) -> Markup:
    return element("p", text, class_="lead")


def _splits(facts: DatasetFacts) -> list[tuple[str, str]]:
    return [("", "any split"), *((split, split) for split in facts.splits)]


def _filters(name: str, filters: Iterable[Markup]) -> Markup:
    return element(
        "details",
        element("summary", "Filter and sort"),
        element("div", *filters, class_="filters"),
        element("p", "", id=f"{name}-shown", class_="shown", role="status"),
        class_="toolbar",
        open=True,
    )


def _labeled(target: str, label: str, *controls: Markup) -> Markup:
    return element("div", element("label", label, for_=target), *controls, class_="field")


def _select(name: str, label: str, choices: Iterable[tuple[str, str]]) -> Markup:
    options = [element("option", text, value=value) for value, text in choices]
    return _labeled(name, label, element("select", *options, id=name))


def _search(name: str) -> Markup:
    field = element(
        "input", type="search", id=name, placeholder="part of a key", autocomplete="off", spellcheck="false"
    )
    return _labeled(name, "Key", field)


def _list(name: str, *, small: bool = False, label: str | None = None) -> Markup:
    return element(
        "ol",
        id=f"{name}-list",
        class_="cards small" if small else "cards",
        aria_label=f"{label or name}: j and k or the arrows go from card to card",
    )


def dialogs() -> Markup:
    """Help, the choice of a label, and what is exported."""
    keys = [element("div", element("dt", element("kbd", key)), element("dd", does)) for key, does in KEYS]
    text = (
        "Decisions are kept in this browser, for exactly this version of the dataset. Export writes them to "
        "edits.json, and `shardtools apply` makes a new dataset out of the old one and that file: nothing here "
        "changes an image."
    )
    help_dialog = element(
        "dialog",
        element("h2", "Keys"),
        element("dl", *keys, class_="keys"),
        element("p", text),
        _close("Close"),
        id="help",
        aria_label="Keys and help",
    )
    label_dialog = element(
        "dialog",
        element("h2", "Choose a label"),
        element("p", "", id="label-for", class_="key"),
        _labeled("label-search", "Name, wnid or number", element("input", type="search", id="label-search")),
        element("ul", id="label-choices", class_="choices"),
        _close("Cancel"),
        id="label",
        aria_label="Choose a label",
    )
    export_dialog = element(
        "dialog",
        element("h2", "Export edits"),
        element("p", "", id="export-summary"),
        element("pre", "", id="export-command", tabindex="0", aria_label="The command that applies them"),
        element(
            "div",
            element("button", "Download edits.json", id="download", type="button", class_="primary"),
            element("button", "Forget all decisions", id="forget", type="button", class_="danger"),
            _close("Close"),
            class_="row",
        ),
        id="export-dialog",
        aria_label="Export edits",
    )
    return Markup(help_dialog + label_dialog + export_dialog)


def _close(text: str) -> Markup:
    return element("button", text, type="button", data_close=True)
