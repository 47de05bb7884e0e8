"""`summary.json` beside an audit's overlay: noise rate, cuts, weights of the vote, who is taken for whom.

    overlays/label_noise/overlay.json      the commit of the scores
                         summary.json      this, written after it

Owns the format and its version. It names the digest of the `overlay.json` that it is about, so that a reader tells one
of an earlier audit from its own; the price is that a copy of an overlay must take both files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from shardtools.audits.labels.rows import AuditRows
from shardtools.audits.labels.scores import Audit, Cut

SUMMARY_FILE = "summary.json"
_FORMAT_NAME = "shardtools-label-audit"
_VERSION = 1
_MOST_PAIRS = 1000


def summary(audit: Audit, rows: AuditRows, *, confidence: float) -> dict[str, Any]:
    """What the file holds, but the overlay's digest.

    `transition` lists P(given | true), the pairs of two different classes with the largest first, 1,000 at most.
    """
    return {
        "num_samples": len(rows.keys),
        "num_audited": len(rows.audited),
        "left_out": rows.left_out,
        "confidence": confidence,
        "noise_rate": asdict(audit.noise_rate),
        "confident_noise_rate": audit.confident_noise_rate,
        "estimators": asdict(audit.estimators),
        "cuts": [_cut(one) for one in audit.cuts],
        "vote_weights": audit.vote_weights,
        "transition": _pairs(audit, rows),
    }


def summary_bytes(content: Mapping[str, Any], *, overlay_sha256: str) -> bytes:
    """The bytes of the file; the same audit gives the same bytes."""
    whole = {"format": _FORMAT_NAME, "format_version": _VERSION, "overlay_sha256": overlay_sha256, **content}
    return (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _cut(cut: Cut) -> dict[str, Any]:
    recalls = {kind: None if math.isnan(value) else value for kind, value in cut.planted_recall.items()}
    return asdict(cut) | {"planted_recall": recalls}


def _pairs(audit: Audit, rows: AuditRows) -> list[dict[str, Any]]:
    off = np.array(audit.transition, np.float64)
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = zip(*(numbers.tolist() for numbers in np.unravel_index(order, off.shape)), strict=True)
    names = [rows.names[label] for label in rows.classes.tolist()]
    return [
        {"true": names[true], "given": names[given], "probability": float(off[true, given])}
        for true, given in pairs
        if off[true, given] > 0
    ]
