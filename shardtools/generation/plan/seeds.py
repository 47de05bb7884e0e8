"""Seeds of images: one 63-bit number an image, by hash, and never the same number twice.

Owns the derivation. A plain hash of (seed, wnid, replica) would collide by chance about once in a few hundred plans
of 64 million images, so the hash only names the class (checked for uniqueness) and the rest is a bijection; the price
is a limit of 8,388,608 images a class and 15 attempts an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shardtools.errors import PlanError

CLASS_BITS = 36
ATTEMPT_BITS = 4
REPLICA_BITS = 23
MAX_ATTEMPTS = 2**ATTEMPT_BITS - 1
MAX_REPLICAS = 2**REPLICA_BITS
_MASK = np.uint64(2**63 - 1)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def class_codes(seed: int, wnids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A 36-bit number for each class, by blake2b over (seed, wnid).

    Raises:
        PlanError: Two classes share a number (about once in 290 seeds for 21,841 classes).
    """
    codes = np.array([_class_code(seed, wnid) for wnid in wnids], dtype=np.uint64)
    if len(np.unique(codes)) != len(codes):
        raise PlanError(f"--seed {seed} gives two classes the same seeds: choose another --seed")
    return codes


def _class_code(seed: int, wnid: str) -> int:
    block = hashlib.blake2b(f"{seed}:{wnid}".encode(), digest_size=8).digest()
    return int.from_bytes(block, "big") >> (64 - CLASS_BITS)


def shuffled_positions(seed: int, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Positions of `names` in a random order, [N], sorted by blake2b over (seed, name): the same with any NumPy."""
    hashes = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest() for name in names]
    return np.array(sorted(range(len(names)), key=hashes.__getitem__), dtype=np.int64)


def image_seeds(
    codes: npt.NDArray[np.uint64], replicas: npt.NDArray[np.int64], attempt: int | npt.NDArray[np.int64] = 1
) -> npt.NDArray[np.int64]:
    """Seeds of images, each in 0 to 2**63 - 1.

    Distinct (code, attempt, replica) give distinct seeds: the three are packed side by side into 63 bits, and each
    step of the mixing (xor with a right shift, multiplication by an odd number modulo 2**63: the finalizer of
    SplitMix64, Steele et al. 2014) can be undone.

    Args:
        codes: `class_codes` of each image's class, [N].
        replicas: 0-based number of the image in its class, [N], below `MAX_REPLICAS`.
        attempt: 1 for the first try, up to `MAX_ATTEMPTS`; one number or [N].

    Raises:
        PlanError: A replica or an attempt is out of range.
    """
    attempts = np.asarray(attempt, dtype=np.int64)
    if replicas.size and int(replicas.max()) >= MAX_REPLICAS:
        raise PlanError(
            f"a class has at most {MAX_REPLICAS} images over all clones, found {int(replicas.max()) + 1}: lower "
            "--scale or --images-per-class"
        )
    if attempts.size and int(attempts.max()) > MAX_ATTEMPTS:
        raise PlanError(
            f"an image is tried at most {MAX_ATTEMPTS} times, found attempt {int(attempts.max())}: change the prompt "
            "or the model"
        )
    shift = np.uint64(ATTEMPT_BITS + REPLICA_BITS)
    packed = (codes << shift) | (attempts.astype(np.uint64) << np.uint64(REPLICA_BITS)) | replicas.astype(np.uint64)
    mixed = packed & _MASK
    for right_shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        mixed = ((mixed ^ (mixed >> np.uint64(right_shift))) * multiplier) & _MASK
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.int64)
