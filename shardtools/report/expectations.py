"""What an audit expects of its suspects: noise rate, and precision and recall at several cuts.

Owns the reading of `summary.json` beside the overlay `label_noise`. A summary of another commit of the overlay is not
shown, since its figures are about other suspects; the price of looking at just the fields that are shown is that an
audit by another program need only have those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardtools.errors import DatasetError, NotFoundError
from shardtools.manifest import digest
from shardtools.overlays import Overlay
from shardtools.report.markup import Markup, element, table
from shardtools.report.reading import Missing, Tables

SUMMARY_FILE = "summary.json"
_FORMAT = ("shardtools-label-audit", 1)
_ENDS = ("low", "estimate", "high")
_MOST_CUTS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """An estimate between two ends, 0 to 1."""

    low: float
    estimate: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCut:
    """What taking the `num_samples` most suspect labels gives; all have at least `threshold` noise probability."""

    num_samples: int
    threshold: float
    precision: Share
    recall: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """Noise rate of the judged labels, and cuts, the smallest first."""

    num_audited: int
    confidence: float
    noise_rate: Share
    cuts: tuple[ExpectedCut, ...]


def find_expectations(tables: Tables, name: str) -> Expectations | Missing | None:
    """The summary beside an overlay; `None` where there is none."""
    overlay = tables.opened(name)
    if overlay is None:
        return None
    path = overlay.folder + SUMMARY_FILE
    try:
        content = overlay.storage.read(path)
    except NotFoundError:
        return None
    where = overlay.storage.object_url(path)
    try:
        return _parse(content, overlay, where)
    except DatasetError as error:
        return Missing(reason=str(error), is_problem=True)


def expectations_table(expected: Expectations | Missing | None, *, least_shown: float) -> Markup:
    """The noise rate in a line and the cuts as a table; a note where they cannot be read; nothing without any.

    Args:
        expected: What to show.
        least_shown: Cuts from this threshold on get a button that shows their suspects; the page has no others.
    """
    if expected is None:
        return Markup("")
    if isinstance(expected, Missing):
        return element("p", expected.reason, class_="note problem")
    rate = element(
        "p",
        f"About {expected.noise_rate} of {expected.num_audited:,} judged labels are wrong. What to expect of taking "
        "the most suspect ones, estimated on this dataset by labels made wrong on purpose:",
        class_="lead",
    )
    headings = ["suspicion at least", "samples", "wrong among them", "found of all wrong", ""]
    rows = [
        [
            f"{cut.threshold:.3f}",
            f"{cut.num_samples:,}",
            str(cut.precision),
            str(cut.recall),
            _button(cut) if cut.threshold >= least_shown else "",
        ]
        for cut in expected.cuts
    ]
    caption = f"Cuts and their trade-off, with {expected.confidence:.0%} intervals"
    figures = table(headings, rows, caption=caption, class_="figures")
    return element("details", element("summary", "What to expect"), rate, figures, class_="toolbar")


def _button(cut: ExpectedCut) -> Markup:
    label = f"Show suspects with a suspicion of at least {cut.threshold:.3f}"
    return element("button", "Show", type="button", data_least=f"{cut.threshold:.4f}", aria_label=label)


def _parse(content: bytes, overlay: Overlay, where: str) -> Expectations:
    try:
        fields = json.loads(content)
        found = (fields["format"], fields["format_version"])
        # Before the figures are read: those of an earlier audit would parse as well, and be about other suspects.
        if found == _FORMAT and fields["overlay_sha256"] != digest(overlay.content):
            raise DatasetError(f"{where} is of another audit than the overlay beside it: run the audit again")
        if found == _FORMAT:
            return Expectations(
                num_audited=int(fields["num_audited"]),
                confidence=float(fields["confidence"]),
                noise_rate=_share(fields["noise_rate"]),
                cuts=tuple(_cut(one) for one in fields["cuts"][:_MOST_CUTS]),
            )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise DatasetError(f"{where} is no summary of an audit: run the audit again with replace (--replace)") from None
    raise DatasetError(
        f"{where} has format {found[0]} version {found[1]}, this release reads {_FORMAT[0]} version {_FORMAT[1]}"
    )


def _cut(fields: Mapping[str, Any]) -> ExpectedCut:
    return ExpectedCut(
        num_samples=int(fields["num_samples"]),
        threshold=float(fields["threshold"]),
        precision=_share(fields["precision"]),
        recall=_share(fields["recall"]),
    )


def _share(fields: Mapping[str, Any]) -> Share:
    low, estimate, high = (float(fields[end]) for end in _ENDS)
    return Share(low=low, estimate=estimate, high=high)
