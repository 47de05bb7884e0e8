"""Jobs that need torch, installed as `shardtools.pipelines`; each module is also a script."""

from __future__ import annotations

__all__: list[str] = []
