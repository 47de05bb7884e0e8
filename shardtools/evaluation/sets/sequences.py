"""ImageNet-P: pictures in sequences, each a little further perturbed; how often does the answer change?

Owns the sorting of frames into sequences. A sequence is one picture under one perturbation; frames are numbered from 0
without a gap, and one that is missing is refused, since the frames beside it would be compared across it. Noise is
compared with the first frame, all else with the frame before (Hendrycks and Dietterich 2019, section 4.3). The price:
sequences of one perturbation must be equally long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shardtools.arrays import Int64s
from shardtools.errors import DatasetError
from shardtools.words import counted

NOISES = frozenset({"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"})
"""Perturbations that are drawn anew for every frame, so that the first frame is what others are compared with."""


def sequences_of(
    perturbations: Sequence[str], paths: Sequence[str], frames: Int64s, *, dataset: str
) -> dict[str, Int64s]:
    """Perturbation -> rows of its sequences, int64 [sequences, frames] in the order of frames.

    Args:
        perturbations: Of each row, with its difficulty.
        paths: Of each row, what its sequence was made of: all frames of a sequence have one path.
        frames: Of each row, from 0.
        dataset: For messages.

    Raises:
        DatasetError: A row is in no sequence, a frame is missing or double, or sequences differ in length.
    """
    rows: dict[str, dict[str, dict[int, int]]] = {}
    for row, (perturbation, path, frame) in enumerate(zip(perturbations, paths, frames.tolist(), strict=True)):
        if not perturbation or frame < 0:
            raise DatasetError(
                f"{dataset}: {path} is in no sequence: expected rows with a corruption and a frame, as `shardtools "
                f"corrupt --set imagenet-p` and `shardtools write` of ImageNet-P's videos make them"
            )
        sequence = rows.setdefault(perturbation, {}).setdefault(path, {})
        if frame in sequence:
            raise DatasetError(f"{dataset}: frame {frame} of {perturbation} of {path} comes twice: write the set again")
        sequence[frame] = row
    found = {}
    for perturbation, sequences in sorted(rows.items()):
        num_frames = max(max(sequence) for sequence in sequences.values()) + 1
        for path, sequence in sequences.items():
            lost = next((frame for frame in range(num_frames) if frame not in sequence), None)
            if lost is not None:
                raise DatasetError(
                    f"{dataset}: frame {lost} of {perturbation} of {path} is missing (expected "
                    f"{counted(num_frames, 'frame')}, found {len(sequence)}): write the sequence whole, or drop it"
                )
        found[perturbation] = np.array(
            [[sequence[frame] for frame in range(num_frames)] for _, sequence in sorted(sequences.items())], np.int64
        )
    return found


def is_noise(perturbation: str) -> bool:
    """Whether a perturbation is noise, at any difficulty ("gaussian_noise/2")."""
    return perturbation.partition("/")[0] in NOISES
