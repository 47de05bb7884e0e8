"""Audits: what is wrong with the data of a dataset. One folder an audit; a score is never a verdict."""

from __future__ import annotations

__all__: list[str] = []
