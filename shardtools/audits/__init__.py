"""Audits: what is wrong with the data of a dataset. One folder an audit; a score is never a verdict."""

from __future__ import annotations

from shardtools.audits.sample_audit import SampleAudit, run_sample_audit

__all__ = [
    "SampleAudit",
    "run_sample_audit",
]
