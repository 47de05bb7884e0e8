"""What an audit expects of its suspects: noise rate, and precision and recall at several cuts.

Owns the reading of `summary.json` beside the overlay `label_noise`. A summary of another commit of the overlay is not
shown, since its figures are about other suspects; the price of looking at just the fields that are shown is that an
audit by another program need only have those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shardtools.documents import FieldError, Format, build
from shardtools.errors import DatasetError, NotFoundError
from shardtools.manifest import digest
from shardtools.overlays import Overlay
from shardtools.report.markup import Markup, element, table
from shardtools.report.reading import Missing, Tables

SUMMARY_FILE = "summary.json"
_FORMAT = Format(
    name="shardtools-label-audit",
    version=1,
    what="the summary of an audit",
    remedy="run the audit again with replace (--replace)",
)
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
    headings = ["noise probability at least", "samples", "wrong among them", "found of all wrong", ""]
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
    label = f"Show suspects with a noise probability of at least {cut.threshold:.3f}"
    return element("button", "Show", type="button", data_least=f"{cut.threshold:.4f}", aria_label=label)


def _parse(content: bytes, overlay: Overlay, where: str) -> Expectations:
    fields = _FORMAT.decode(content, where=where)
    if fields.get("overlay_sha256") != digest(overlay.content):
        raise DatasetError(f"{where} is of another audit than the overlay beside it: run the audit again")
    try:
        found = build(Expectations, fields, others=True)
    except FieldError as error:
        raise _FORMAT.damaged(where, error) from None
    return replace(found, cuts=found.cuts[:_MOST_CUTS])
