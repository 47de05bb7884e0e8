"""WebDataset tars: members, headers, and the encoder that writes shards of them."""

from __future__ import annotations

__all__: list[str] = []
