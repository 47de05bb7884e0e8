"""Numbers as people read them: counts with their noun, sizes, durations.

Owns the spelling of units: decimal, "kB", "MB", "GB". The price of one spelling: memory, which others count in powers
of two, reads a little larger here.
"""

from __future__ import annotations


def counted(number: float, noun: str, nouns: str | None = None, *, spec: str = "") -> str:
    """A count: "1 shard", "2 shards", "3 classes".

    Args:
        number: What was counted.
        noun: For one.
        nouns: For any other number; `None` for the noun with an s.
        spec: Format of the number; "," groups its digits.
    """
    return f"{number:{spec}} {noun if number == 1 else nouns or f'{noun}s'}"


def size(num_bytes: float) -> str:
    """A size in MB, from 1 GB on in GB, with two decimals: sizes below one another can be compared."""
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.2f} MB"


def rough_size(num_bytes: float) -> str:
    """A size of any magnitude in three digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


def duration(seconds: float) -> str:
    """A time in the largest unit of which there are two: "2.5 hours"."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
