"""From a dataset and its overlays to one page.

Owns the order of work: facts and findings by SQL, then the pictures of the samples that these name, then the page.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from shardtools.dataset import open_dataset, refuse_dataset_file
from shardtools.errors import OptionError
from shardtools.execution import Doing, Progress, ignore
from shardtools.report.class_map import find_class_map
from shardtools.report.content import Findings, page_content, read_samples, script_json, wished_pictures
from shardtools.report.facts import count
from shardtools.report.options import ReportOptions
from shardtools.report.outliers import find_outliers
from shardtools.report.page import Page, page_html
from shardtools.report.pairs import Pairs, find_pairs
from shardtools.report.prompts import find_yields
from shardtools.report.reading import Missing, Tables
from shardtools.report.suspects import Suspects, find_suspects
from shardtools.report.thumbnails import Thumbnails, make_thumbnails
from shardtools.sql import Session
from shardtools.storage import open_storage
from shardtools.words import counted

_SUFFIX = ".html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """What was written.

    Attributes:
        path: Where the page is.
        num_bytes: Its length.
        num_suspects: Suspects on it.
        num_pairs: Duplicate pairs on it.
        num_outliers: Images of bad quality on it.
        num_pictures: Different thumbnails.
        notes: One line each on what is missing and why.
    """

    path: str
    num_bytes: int
    num_suspects: int
    num_pairs: int
    num_outliers: int
    num_pictures: int
    notes: tuple[str, ...]


def write_report(
    url: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ReportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ReportResult:
    """Writes the page of a committed dataset.

    Args:
        url: A folder or s3:// address.
        out: A path or s3:// address that ends in .html; a file already there is replaced.
        options: What is on it.
        progress: Called with `Doing` at each step, and with `Batch` for pictures.

    Raises:
        DatasetError: There is no committed dataset, or its manifest is damaged.
        OptionError: `out` has another suffix.
        StorageError: A place cannot be read or written.
    """
    options = options or ReportOptions()
    address = os.fspath(out)
    # Before any row is read: a wrong name must not cost the minutes that the page takes.
    if PurePosixPath(address).suffix.lower() != _SUFFIX:
        raise OptionError(f"a report is written to a name that ends in {_SUFFIX}, found {address!r}")
    refuse_dataset_file(address)
    page, pictures = make_page(os.fspath(url), options, progress or ignore)
    content = page_html(page, script_json(pictures.pictures))
    folder, slash, name = address.rpartition("/")
    open_storage(folder or slash or ".").write(name, content)
    return _result(page, pictures, address, len(content))


def make_page(url: str, options: ReportOptions, show: Progress = ignore) -> tuple[Page, Thumbnails]:
    """All that stands on the page; progress and errors as `write_report`."""
    dataset = open_dataset(url)
    with Session([url], overlays=options.overlays) as session:
        tables = Tables(session, dataset, url, options.overlays)
        # The facts first: they refuse a dataset that is not finished.
        show(Doing(text="counting"))
        facts = count(tables, dataset)
        show(Doing(text="reading what audits found"))
        findings = Findings(
            suspects=find_suspects(tables, limit=options.num_suspects, num_neighbors=options.num_neighbors),
            pairs=find_pairs(tables, limit=options.num_pairs),
            outliers=find_outliers(tables, limit=options.num_outliers),
        )
        show(Doing(text="drawing the map of classes"))
        class_map = find_class_map(tables)
        yields = find_yields(tables)
        # Findings name samples by key alone. Their rows are read once for all, and no SQL is asked after this block.
        wishes = wished_pictures(findings, options.thumbnail_pixels)
        rows = read_samples(tables, list(dict.fromkeys(key for key, _ in wishes)))
        infos = tuple(tables.infos())
    page = Page(
        title=options.title or url.rstrip("/").rpartition("/")[2] or url,
        facts=facts,
        findings=findings,
        class_map=class_map,
        yields=yields,
        overlays=infos,
        content=page_content(facts, findings, rows, {}),
    )
    # The same page without pictures says how much room is left for them; each sample may need a few digits more.
    room = options.max_bytes - len(page_html(page, "[]")) - 8 * len(rows)
    pictures = make_thumbnails(dataset.storage, rows, wishes, max_bytes=max(room, 0), progress=show)
    return page.with_content(page_content(facts, findings, rows, pictures.numbers)), pictures


def _result(page: Page, pictures: Thumbnails, address: str, num_bytes: int) -> ReportResult:
    findings = page.findings
    sections: tuple[object, ...] = (findings.suspects, findings.pairs, findings.outliers, page.class_map)
    if isinstance(findings.suspects, Suspects):
        sections += (findings.suspects.expected,)
    notes = [section.reason for section in sections if isinstance(section, Missing)]
    if pictures.failures:
        key, reason = next(iter(pictures.failures.items()))
        notes.append(f"{counted(len(pictures.failures), 'image')} could not be shown, first {key!r}: {reason}")
    if pictures.num_left_out:
        notes.append(
            f"{counted(pictures.num_left_out, 'thumbnail was', 'thumbnails were')} left out to stay "
            "under the limit: raise --max-megabytes"
        )
    return ReportResult(
        path=address,
        num_bytes=num_bytes,
        num_suspects=len(findings.suspects.shown) if isinstance(findings.suspects, Suspects) else 0,
        num_pairs=len(findings.pairs.shown) if isinstance(findings.pairs, Pairs) else 0,
        num_outliers=sum(len(kind.shown) for kind in findings.outliers) if isinstance(findings.outliers, tuple) else 0,
        num_pictures=len(pictures.pictures),
        notes=tuple(notes),
    )
