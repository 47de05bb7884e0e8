"""What the bytes of one image say, and bytes for pixels that have none."""

from __future__ import annotations

__all__: list[str] = []
