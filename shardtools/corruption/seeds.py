"""The seed of one corrupted image: a function of what it is for, never of who makes it or when."""

from __future__ import annotations

import hashlib


def sample_seed(seed: int, key: str, corruption: str, severity: int) -> int:
    """64 bits of blake2b over (seed, corruption, severity, key).

    Args:
        seed: The user's.
        key: The sample's.
        corruption: Its name.
        severity: 1 to 5.
    """
    # The key comes last: it alone may have colons in it, so no two quadruples make one text.
    block = f"{seed}:{corruption}:{severity}:{key}".encode()
    return int.from_bytes(hashlib.blake2b(block, digest_size=8).digest(), "little")
