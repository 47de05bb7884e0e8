"""Whether answers hold while a picture changes little: ImageNet-P (Hendrycks and Dietterich 2019, section 4.3).

Owns the pairs of frames that are compared: each with the one before, or with the first where the frames are independent
noise. Distances of the five likeliest classes need these five alone; Zipf's needs all logits. What is called mFR and
mT5D is divided by AlexNet's, which its authors published in an online sheet alone: whoever wants it measures AlexNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.corruption import SEQUENCE_SETS
from shardtools.errors import OptionError
from shardtools.evaluation.metrics.logits import checked_logits

PERTURBATIONS = SEQUENCE_SETS["imagenet-p"]
"""The ten of ImageNet-P's means."""

_TOP = 5


def flip_probability(predicted: npt.ArrayLike, *, is_noise: bool, step: int = 1) -> float:
    """Share of frames whose answer differs from the one before, or, with noise, from the first.

    The mean over sequences of the mean over pairs.

    Args:
        predicted: Answers, int `[sequences, frames]`.
        is_noise: Whether frames are compared with the first.
        step: 2 and 3 compare every second and third frame, in all phases: the harder levels of the benchmark. Noise
            has them as stronger noise, so it takes 1.

    Raises:
        OptionError: There are not two frames to compare.
    """
    answers = np.asarray(predicted)
    first, second = _pairs(answers, is_noise=is_noise, step=step)
    return float(np.mean(answers[:, first] != answers[:, second]))


def top5_distance(classes: npt.ArrayLike, *, is_noise: bool, step: int = 1) -> float:
    """How far the five likeliest classes move between frames: the benchmark's unnormalized top-5 distance.

    Of a class at place k (from 0) of five that comes to place s: |k - min(s, 5)|, summed over the five; averaged over
    all pairs and sequences. 0 where nothing moves, 15 where all five leave.

    Args:
        classes: Five likeliest, likeliest first, int `[sequences, frames, 5]`.
        is_noise: As in `flip_probability`.
        step: As in `flip_probability`.

    Raises:
        OptionError: There are not five classes, or not two frames to compare.
    """
    found = np.asarray(classes)
    if found.ndim != 3 or found.shape[2] != _TOP:
        raise OptionError(f"the top-5 distance needs [sequences, frames, 5] classes, found {list(found.shape)}")
    first, second = _pairs(found, is_noise=is_noise, step=step)
    is_same = found[:, first, :, None] == found[:, second, None, :]
    place = np.where(is_same.any(axis=3), is_same.argmax(axis=3), _TOP)
    return float(np.mean(np.abs(place - np.arange(_TOP)).sum(axis=2)))


def zipf_distance(logits: npt.ArrayLike, *, is_noise: bool, step: int = 1) -> float:
    """How far all classes move between frames, the likely ones weighing more: sum_k |1/k - 1/s_k| / k.

    k: place in the one frame, from 1; s_k: place of the same class in the other. The authors' script prints it beside
    the top-5 distance; averaged as that is.

    Args:
        logits: `[sequences, frames, C]`; of equals the first is ahead.
        is_noise: As in `flip_probability`.
        step: As in `flip_probability`.

    Raises:
        OptionError: A logit is not finite, or there are not two frames to compare.
    """
    found = np.asarray(logits)
    if found.ndim != 3:
        raise OptionError(f"Zipf's distance needs [sequences, frames, outputs] logits, found {list(found.shape)}")
    first, second = _pairs(found, is_noise=is_noise, step=step)
    weight = 1 / np.arange(1, found.shape[2] + 1)
    # A sequence at a time: places of 31 frames of 1,000 classes are small, those of all sequences are not.
    means = [_mean_zipf(sequence, first, second, weight) for sequence in found]
    return float(np.mean(means))


def mean_normalized(values: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """The mean over perturbations of a network's figure over the reference's: mFR of flips, mT5D of distances.

    Args:
        values: Perturbation -> figure, of all ten; others are left aside.
        reference: Of AlexNet, measured in the same way.

    Raises:
        OptionError: One of the ten is missing in either, or the reference's is 0.
    """
    for what, figures in (("the network", values), ("the reference", reference)):
        missing = [name for name in PERTURBATIONS if name not in figures]
        if missing:
            raise OptionError(
                f"{what} has no figure for {', '.join(missing)}: the mean is of {len(PERTURBATIONS)} perturbations; "
                "measure them too"
            )
    still = [name for name in PERTURBATIONS if reference[name] <= 0]
    if still:
        raise OptionError(f"the reference's figure for {', '.join(still)} is 0: nothing can be divided by that")
    return float(np.mean([values[name] / reference[name] for name in PERTURBATIONS]))


def _mean_zipf(
    logits: npt.NDArray[Any], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], weight: npt.NDArray[Any]
) -> float:
    order = np.argsort(-checked_logits(logits).astype(np.float64), axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None, :], axis=1)
    moved = np.take_along_axis(places[second], order[first], axis=1)
    return float(np.mean(np.sum(np.abs(weight - weight[moved]) * weight, axis=1)))


def _pairs(
    frames: npt.NDArray[Any], *, is_noise: bool, step: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of the frames that are compared, all phases one after another."""
    if frames.ndim < 2 or frames.shape[0] == 0 or step < 1 or (is_noise and step != 1) or frames.shape[1] <= step:
        raise OptionError(
            f"sequences need more than {step} frames, and noise a step of 1; found an array of {list(frames.shape)} "
            f"with a step of {step}"
        )
    phases: Iterator[npt.NDArray[np.int64]] = (np.arange(start, frames.shape[1], step) for start in range(step))
    pairs = [np.stack([np.zeros_like(own[1:]) if is_noise else own[:-1], own[1:]]) for own in phases]
    first, second = np.concatenate(pairs, axis=1)
    return first, second
