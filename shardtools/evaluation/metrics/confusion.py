"""What follows from the table of given and answered classes: agreement of grades, F1, accuracy of each class.

Owns the counts, and what is made of a class that nobody gives or answers. Every measure is told how many classes there
are: taken from the labels at hand, a grade that no picture of a small set has would draw the others nearer to each
other. The price: as in scikit-learn with `labels=range(C)`, a class without samples counts in a macro mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float64s, Int64s
from shardtools.errors import OptionError


def confusion_matrix(labels: npt.ArrayLike, answers: npt.ArrayLike, num_classes: int) -> Int64s:
    """How often each class was given each answer, int64 `[C, C]`: a row a given class, a column an answer.

    Args:
        labels: Given class of each sample, int `[N]`, 0 to C - 1.
        answers: Its answered class, likewise.
        num_classes: C, at least 1.

    Raises:
        OptionError: There are no samples, the lengths differ, or a class is outside.
    """
    given, answered = _checked(labels, answers, num_classes)
    places = given * num_classes + answered
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def _checked(labels: npt.ArrayLike, answers: npt.ArrayLike, num_classes: int) -> tuple[Int64s, Int64s]:
    """Both as int64 [N]."""
    given, answered = np.asarray(labels), np.asarray(answers)
    if given.ndim != 1 or given.shape != answered.shape or given.size == 0:
        raise OptionError(f"expected one label and one answer a sample, found {given.size} and {answered.size}")
    for name, values in (("label", given), ("answer", answered)):
        outside = np.flatnonzero((values < 0) | (values >= num_classes))
        if outside.size:
            raise OptionError(
                f"expected classes 0 to {num_classes - 1}, found {name} {values[outside[0]]} of sample {outside[0]}: "
                "leave out samples without a label"
            )
    return given.astype(np.int64), answered.astype(np.int64)


def _of_each(labels: npt.ArrayLike, answers: npt.ArrayLike, num_classes: int) -> tuple[Int64s, Int64s, Int64s]:
    """Of each class its samples that are answered right, its samples, and its answers, [C] each.

    The margins of the table without the table, which takes half a gigabyte for the classes of iNaturalist 2018.
    """
    given, answered = _checked(labels, answers, num_classes)
    right, samples, said = (
        np.bincount(one, minlength=num_classes).astype(np.int64) for one in (given[given == answered], given, answered)
    )
    return right, samples, said


def quadratic_weighted_kappa(labels: npt.ArrayLike, answers: npt.ArrayLike, num_classes: int) -> float:
    """Agreement of two gradings beyond chance, disagreements weighted by their squared distance; at most 1.

    Cohen, "Weighted kappa" (1968): 1 - sum(w * observed) / sum(w * expected), w = (i - j)^2, expected from the margins.
    The measure of APTOS 2019 in seed 003.

    Args:
        labels: Given grade of each sample, int `[N]`, 0 to C - 1; grades are a unit apart.
        answers: Its answered grade, likewise.
        num_classes: C.

    Raises:
        OptionError: As in `confusion_matrix`; or all labels and all answers are one grade, which leaves nothing to
            agree on.
    """
    observed = confusion_matrix(labels, answers, num_classes).astype(np.float64)
    grades = np.arange(num_classes)
    weights = (grades[:, None] - grades[None, :]) ** 2
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    by_chance = float(np.sum(weights * expected))
    if by_chance == 0:
        grade = int(np.argmax(observed.sum(1)))
        raise OptionError(
            f"kappa compares gradings, found grade {grade} as every label and every answer: take samples of two grades "
            "at least"
        )
    return 1.0 - float(np.sum(weights * observed)) / by_chance


def mean_class_accuracy(labels: npt.ArrayLike, answers: npt.ArrayLike, num_classes: int) -> float:
    """Mean over the classes that have samples of the share of their samples that is answered right.

    The "mean per-class accuracy" of Aircraft, Flowers, Pets and Caltech-101 (Kornblith et al. 2019, "Do better ImageNet
    models transfer better?", table 1), scikit-learn's `balanced_accuracy_score`.

    Args:
        labels: Given class of each sample, int `[N]`, 0 to C - 1.
        answers: Its answered class, likewise.
        num_classes: C.

    Raises:
        OptionError: As in `confusion_matrix`.
    """
    right, samples, _ = _of_each(labels, answers, num_classes)
    has_samples = samples > 0
    return float(np.mean(right[has_samples] / samples[has_samples]))


def macro_f1(labels: npt.ArrayLike, answers: npt.ArrayLike, num_classes: int) -> float:
    """Mean over all classes of F1 = 2 tp / (2 tp + fp + fn), for one label and one answer a sample.

    A class that is neither given nor answered has 0, as in scikit-learn.

    Args:
        labels: Given class of each sample, int `[N]`, 0 to C - 1.
        answers: Its answered class, likewise.
        num_classes: C.

    Raises:
        OptionError: As in `confusion_matrix`.
    """
    return float(np.mean(_f1(*_of_each(labels, answers, num_classes))))


def macro_f1_of_sets(given: npt.ArrayLike, answered: npt.ArrayLike) -> float:
    """`macro_f1` where a sample has any number of classes: the measure of the Human Protein Atlas in seed 003.

    Args:
        given: Whether a sample has a class, bool `[N, C]`.
        answered: Whether it is said to, bool `[N, C]`.

    Raises:
        OptionError: There are no samples, or the shapes differ.
    """
    has, said = np.asarray(given, np.bool_), np.asarray(answered, np.bool_)
    if has.ndim != 2 or has.shape != said.shape or has.size == 0:
        raise OptionError(f"expected one answer for each sample and class, found {has.shape} given and {said.shape}")
    return float(np.mean(_f1((has & said).sum(0), has.sum(0), said.sum(0))))


def tuned_thresholds(given: npt.ArrayLike, scores: npt.ArrayLike) -> Float64s:
    """For each class the least score that makes it an answer, so that its F1 on these samples is as large as it can be.

    Classes are apart from each other, so the macro F1 is largest too. Seed 003 tunes thresholds on the validation part
    and does not say how; a search over all of them is the one that no step size changes. A threshold lies in the middle
    of the two scores that it parts, the highest of equally good ones is taken, and a class that no sample has gets
    infinity.

    Args:
        given: Whether a sample has a class, bool `[N, C]`.
        scores: Of each sample and class, `[N, C]`, higher where a class is likelier; finite.

    Returns:
        float64 `[C]`: a class is answered where its score is at least this.

    Raises:
        OptionError: There are no samples, the shapes differ, or a score is not finite.
    """
    has, values = np.asarray(given, np.bool_), np.asarray(scores, np.float64)
    if has.ndim != 2 or has.shape != values.shape or has.size == 0:
        raise OptionError(f"expected one score for each sample and class, found {has.shape} given and {values.shape}")
    if not np.isfinite(values).all():
        raise OptionError("thresholds are tuned on finite scores, found one that is not: look at the network's weights")
    return np.array([_threshold(has[:, column], values[:, column]) for column in range(has.shape[1])])


def _threshold(has: npt.NDArray[np.bool_], values: Float64s) -> float:
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    # Samples of one score are answered together: a cut is behind the last of them.
    cuts = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    right = np.cumsum(has[order], dtype=np.int64)[cuts]
    scores = _f1(right, np.full(len(cuts), has.sum()), cuts + 1)
    best = int(np.argmax(scores))
    if scores[best] == 0:
        return np.inf
    last = cuts[best]
    if last + 1 == len(ranked):
        return float(ranked[last])
    middle = (ranked[last] + ranked[last + 1]) / 2
    # Of neighboring floats the middle is one of the two.
    return float(middle if middle > ranked[last + 1] else ranked[last])


def _f1(right: npt.NDArray[np.integer], given: npt.NDArray[np.integer], answered: npt.NDArray[np.integer]) -> Float64s:
    """2 tp / (given + answered) of each class; 0 where there is neither."""
    total = (given + answered).astype(np.float64)
    found: Float64s = np.divide(2.0 * right, total, out=np.zeros(len(total)), where=total > 0)
    return found
