"""ImageNet-P: pictures in sequences, each a little further perturbed; how often does the answer change?

Owns the sorting of frames into sequences. A sequence is one picture under one perturbation; frames are numbered from 0
without a gap, and one that is missing is refused, since the frames beside it would be compared across it. Noise is
compared with the first frame, all else with the frame before (Hendrycks and Dietterich 2019, section 4.3). The price:
sequences of one perturbation must be equally long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.corruption import PERTURBATIONS
from shardtools.errors import DatasetError
from shardtools.evaluation.metrics import flip_probability, top5_distance, zipf_distance
from shardtools.evaluation.sets.figure import Figure
from shardtools.words import counted

TOP = 5
"""Classes that the top-5 distance looks at; a model with fewer outputs has none."""


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


def judge_sequences(rows: Mapping[str, Int64s], classes: Int64s, logits: npt.NDArray[Any] | None) -> tuple[Figure, ...]:
    """Flips and distances of each perturbation, and their plain means.

    Nothing is divided by AlexNet: its figures were published in an online sheet alone.

    Args:
        rows: As `sequences_of` gives them.
        classes: Likeliest outputs of each row, likeliest first, int64 [N, M].
        logits: All, [N, C]; `None` leaves Zipf's distance out.
    """
    values: dict[str, dict[str, float]] = {"flip_probability": {}, "top5_distance": {}, "zipf_distance": {}}
    for name, order in rows.items():
        known = PERTURBATIONS.get(name.partition("/")[0])
        is_noise = known is not None and known.is_noise
        values["flip_probability"][name] = flip_probability(classes[order][..., 0], is_noise=is_noise)
        if classes.shape[1] == TOP:
            values["top5_distance"][name] = top5_distance(classes[order], is_noise=is_noise)
        if logits is not None:
            values["zipf_distance"][name] = zipf_distance(logits[order], is_noise=is_noise)
    figures = [
        Figure(
            metric=metric,
            value=float(np.mean(list(found.values()))),
            how=counted(len(found), "perturbation"),
            is_main=metric == "flip_probability",
        )
        for metric, found in values.items()
        if found
    ]
    figures += [
        Figure(metric=metric, value=value, split=name)
        for metric, found in values.items()
        for name, value in found.items()
    ]
    return tuple(figures)
