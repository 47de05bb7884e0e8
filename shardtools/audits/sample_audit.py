"""An audit of one file: scores of every sample, written as an overlay, with a command of their own.

Owns what such audits share: the options of their overlay, the order (the place is checked, then the work is done, then
the overlay is committed), and the check of their columns. The price: a run that is stopped begins anew; an audit that
reads every image and takes hours resumes, and is a folder of its own (`audits/quality`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shardtools.errors import OptionError
from shardtools.options import check_options, option

if TYPE_CHECKING:
    import pyarrow as pa

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAuditOptions:
    """What every such audit is asked; a subclass adds its own.

    Attributes:
        dataset: Folder or address of a finished dataset.
        out: Folder for the overlay, where the dataset cannot be written.
        replace: Whether an overlay of that name is written anew.

    Raises:
        OptionError: A value is out of its declared range.
    """

    dataset: str
    out: str | None = field(
        default=None, metadata=option("Write the overlay there, where DATASET cannot be written.", metavar="FOLDER")
    )
    replace: bool = field(default=False, metadata=option("Write anew an overlay that is there."))

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAudit:
    """An audit, declared.

    Attributes:
        name: Of its command; with "_" for "-", of its overlay.
        summary: One line: what the command does with DATASET.
        options: Its options, a subclass of `SampleAuditOptions`.
        columns: Column of the overlay beside `key` -> what it says.
        score: Makes tables with `key` and the columns. It checks what it needs before it yields the first.
        next_commands: What to type next; "DATASET" stands for the dataset. At least the named question.
    """

    name: str
    summary: str
    options: type[SampleAuditOptions]
    columns: Mapping[str, str]
    score: Callable[[Any, Report], Iterable[pa.Table]]
    next_commands: tuple[str, ...]

    @property
    def overlay(self) -> str:
        """Name of the overlay, as SQL has it."""
        return self.name.replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAuditResult:
    """What came of it.

    Attributes:
        dataset: As given.
        overlay: Address of the overlay.
        num_samples: Its rows.
    """

    dataset: str
    overlay: str
    num_samples: int


def run_sample_audit(
    audit: SampleAudit, options: SampleAuditOptions, *, report: Report = lambda _line: None
) -> SampleAuditResult:
    """Scores every sample and writes the overlay.

    Args:
        audit: What is done.
        options: Of its kind.
        report: Called with lines about what is done.

    Raises:
        AlreadyExistsError: The overlay is there, and `replace` is not given.
        OptionError: The audit's scores have other columns than it declares.
        ShardtoolsError: The dataset is not finished, or lacks what the audit reads.
    """
    from shardtools.overlays import OverlayWriter

    settings = {name: value for name, value in dataclasses.asdict(options).items() if name not in _OF_THE_PLACE}
    # First, so that an overlay that is there, or a place that cannot be written, does not cost the work.
    with OverlayWriter(
        options.dataset,
        audit.overlay,
        made_by=f"shardtools {audit.name}",
        settings=settings,
        replace=options.replace,
        out=options.out,
    ) as writer:
        for table in audit.score(options, report):
            if set(table.column_names) != {"key", *audit.columns}:
                raise OptionError(
                    f"audit {audit.name} declares the columns {', '.join(audit.columns)}, its scores have "
                    f"{', '.join(name for name in table.column_names if name != 'key')}: make them alike"
                )
            writer.add(table)
        info = writer.commit()
    place = options.out or f"{options.dataset.rstrip('/')}/overlays/{info.name}"
    return SampleAuditResult(dataset=options.dataset, overlay=place, num_samples=info.num_rows)


_OF_THE_PLACE = tuple(one.name for one in dataclasses.fields(SampleAuditOptions))
