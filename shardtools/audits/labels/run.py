"""The audit of a dataset, from its features to an overlay and its summary.

Owns the order: the place to write is tried first, then samples, features and margins are read, the labels judged, the
overlay committed, and `summary.json` written beside it. The price: the features of all encoders are in memory, of the
stored type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s, from_int64
from shardtools.audits.labels.margins import read_margins
from shardtools.audits.labels.options import LabelAuditOptions, LabelAuditResult
from shardtools.audits.labels.probabilities import copies_of, probabilities_of
from shardtools.audits.labels.rows import AuditRows, choose_rows, features_of
from shardtools.audits.labels.scores import Audit, audit_labels, check_encoder
from shardtools.audits.labels.summary import SUMMARY_FILE, summary, summary_bytes
from shardtools.audits.labels.tables import most_suspect, noise_table
from shardtools.errors import DatasetError, OptionError
from shardtools.features import FeatureStore, KeyedRows, RowsFile, only_features, open_features, read_rows_file
from shardtools.manifest import digest
from shardtools.overlays import ROWS_PER_PART, Overlay, OverlayWriter, open_overlay, open_overlay_at
from shardtools.words import counted

MADE_BY = "shardtools audit"

Report = Callable[[str], None]
"""Takes a line about what is being done."""

_SUSPECTS = 10


def audit_dataset(options: LabelAuditOptions, *, report: Report | None = None) -> LabelAuditResult:
    """Judges the labels of a dataset, and writes down every score.

    Args:
        options: Whose, by which evidence.
        report: Called with each step.

    Raises:
        OptionError: There are no features, too few samples or classes, or a class has one sample.
        DatasetError: Features or a training overlay are damaged, not finite, or of another version of the dataset.
        QueryError: The condition cannot be run.
        AlreadyExistsError: The overlay is there, and `replace` is not given.
        AccessError: The place of the overlay cannot be written.
    """
    say = report or (lambda line: None)
    stores = _open_stores(options)
    brought = [read_rows_file(options.dataset, file) for file in options.probabilities]
    tables: list[KeyedRows] = [*stores, *brought]
    training = None if options.training is None else open_overlay(options.dataset, options.training)
    # First, so that an overlay that is there, or a place that cannot be written, does not cost the work.
    with OverlayWriter(
        options.dataset,
        options.overlay,
        made_by=MADE_BY,
        settings=_settings(options, stores, brought, training),
        replace=options.replace,
        out=options.out,
    ) as writer:
        rows = choose_rows(tables, split=options.split, where=options.where, allow_small=options.allow_small)
        for reason, count in rows.left_out.items():
            say(f"{count} of {counted(len(rows.keys), 'sample')} are left out: {reason}")
        found = _judge(options, tables, training, rows, say)
        table = noise_table(found, rows)
        for start in range(0, table.num_rows, ROWS_PER_PART):
            writer.add(table.slice(start, ROWS_PER_PART))
        writer.commit()
    # The overlay is there from here on. The summary names its digest, so it comes after; a kill between the two leaves
    # the scores without a summary.
    content = summary(found, rows, confidence=options.audit_options().confidence)
    summary_file = _write_summary(options, content)
    return LabelAuditResult(
        dataset=options.dataset,
        overlay=options.out or f"{options.dataset.rstrip('/')}/overlays/{options.overlay}",
        summary_file=summary_file,
        num_samples=table.num_rows,
        num_audited=len(rows.audited),
        left_out=rows.left_out,
        noise_rate=content["noise_rate"],
        confident_noise_rate=content["confident_noise_rate"],
        estimators=content["estimators"],
        cuts=tuple(content["cuts"]),
        suspects=tuple(most_suspect(table, _SUSPECTS)),
        vote_weights=content["vote_weights"],
    )


def _open_stores(options: LabelAuditOptions) -> list[FeatureStore]:
    # With probabilities features are only taken where they are asked for: which ones they would agree with is unknown.
    names = options.features
    if not names and not options.probabilities:
        names = (only_features(options.dataset, None),)
    stores = [open_features(options.dataset, name) for name in names]
    fingerprints = [store.info.fingerprint for store in stores]
    if len(set(fingerprints)) < len(fingerprints):
        raise OptionError(f"two encoders differ, found the same features twice ({', '.join(names)}): give each once")
    return stores


def _judge(
    options: LabelAuditOptions, tables: list[KeyedRows], training: Overlay | None, rows: AuditRows, say: Report
) -> Audit:
    margins = None
    if training is not None:
        records = read_margins(options.dataset, training, rows.keys.take(from_int64(rows.audited)))
        say(f"margins of {counted(len(records.epochs), 'epoch')} of {training.url}")
        margins = records.margins
    found = list(zip(tables, rows.places, strict=True))
    encoders = [(table, places) for table, places in found if isinstance(table, FeatureStore)]
    models = [(table, places) for table, places in found if isinstance(table, RowsFile)]
    names = [store.info.encoder.name for store, _ in encoders] + [
        f"probabilities of {table.url}" for table, _ in models
    ]
    say(
        f"judging {counted(len(rows.audited), 'label')} of {counted(len(rows.classes), 'class', 'classes')} by "
        f"{', '.join(names)}"
    )
    return audit_labels(
        [_features(store, places, rows, options) for store, places in encoders],
        rows.given,
        probabilities=[probabilities_of(table, places, rows) for table, places in models],
        copies=copies_of(*found[0]),
        num_classes=len(rows.classes),
        training_margins=margins,
        options=options.audit_options(),
    )


def _features(
    store: FeatureStore, places: Int64s, rows: AuditRows, options: LabelAuditOptions
) -> npt.NDArray[np.floating[Any]]:
    found = features_of(store, places)
    # What is wrong with a dataset's own features is no wrong use of the command.
    if len(rows.audited) >= options.num_folds:
        try:
            check_encoder(found, options.audit_options())
        except OptionError as error:
            raise DatasetError(f"{store.where}: {error}") from None
    return found


def _write_summary(options: LabelAuditOptions, content: dict[str, Any]) -> str:
    """Writes the file beside the overlay that is there now, and returns its address."""
    overlay = open_overlay(options.dataset, options.overlay) if options.out is None else open_overlay_at(options.out)
    path = overlay.folder + SUMMARY_FILE
    overlay.storage.write(path, summary_bytes(content, overlay_sha256=digest(overlay.content)))
    return overlay.storage.object_url(path)


def _settings(
    options: LabelAuditOptions, stores: list[FeatureStore], brought: list[RowsFile], training: Overlay | None
) -> dict[str, Any]:
    return {
        "features": [store.info.plan.name for store in stores],
        "probabilities_sha256": [table.sha256 for table in brought],
        "features_sha256": [store.info.fingerprint for store in stores],
        "encoder_sha256": [store.info.encoder.fingerprint for store in stores],
        "training": options.training,
        "training_sha256": None if training is None else digest(training.content),
        "split": options.split,
        "where": options.where,
        "folds": options.num_folds,
        "k": options.k,
        "seed": options.seed,
        "allow_small": options.allow_small,
    }
