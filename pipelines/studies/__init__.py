"""Studies: a folder a study, run as `python -m shardtools.pipelines.studies.NAME`."""

from __future__ import annotations

__all__: list[str] = []
