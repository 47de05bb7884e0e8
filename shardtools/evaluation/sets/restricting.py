"""Logits of the classes that a test set has, and what a model answers where only those are allowed.

Owns the restriction by wnid. ImageNet-A and -R have 200 of the 1,000 classes and are judged among these alone
(Hendrycks et al., "Natural Adversarial Examples", section 5; "The Many Faces of Robustness", section 3.1): argmax and
softmax run over the outputs of these classes. A folder's number is never taken for a class: ImageNet-A's first folder
is class 6, and who takes it for class 0 measures 0.08 % (timm issue 2456). The price: a set or a model without wnids
is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Bools, Float32s, Float64s, Int64s
from shardtools.errors import DatasetError, OptionError
from shardtools.words import counted

_FOLDER_NUMBER = re.compile(r"[0-9]+")
_NAMED = 3
"""Classes that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Restricted:
    """Answers among some of a model's classes.

    Attributes:
        outputs: Positions among the model's outputs that were allowed, int64 [K] ascending.
        logits: Of these, float32 [N, K].
        predicted: The likeliest of them as a position among all outputs, int64 [N].
        confidence: Its probability, softmax over these K, float64 [N].
    """

    outputs: Int64s
    logits: Float32s
    predicted: Int64s
    confidence: Float64s

    def knows(self, labels: Int64s) -> Bools:
        """Whether each label (a position among all outputs, -1 for none) is one of the allowed, bool [N]."""
        return np.isin(labels, self.outputs)

    def rank(self, labels: Int64s) -> Int64s:
        """Rank of each label among the allowed, int64 [N] from 1; K + 1 for a label that is none of them.

        Of equal logits that of the lower output is the likelier, as in an overlay of predictions.
        """
        is_own = labels[:, None] == self.outputs[None, :]
        own = np.where(is_own, self.logits, -np.inf).max(axis=1, keepdims=True)
        before = (self.logits > own) | ((self.logits == own) & (self.outputs[None, :] < labels[:, None]))
        rank: Int64s = 1 + before.sum(axis=1, dtype=np.int64)
        return np.where(is_own.any(axis=1), rank, len(self.outputs) + 1)


def restrict(logits: npt.NDArray[Any], model_classes: Sequence[str] | None, classes: Sequence[str]) -> Restricted:
    """Answers of a model among the classes of a set that it knows.

    Args:
        logits: Of all outputs, floating [N, C], finite.
        model_classes: Wnid of each output; `None` where the model has none.
        classes: Wnids of the set.

    Raises:
        OptionError: The model has no wnids, another number of outputs, or knows no class of the set; or a logit is not
            finite.
    """
    if model_classes is not None and logits.ndim == 2 and logits.shape[1] != len(model_classes):
        raise OptionError(
            f"expected {counted(len(model_classes), 'logit')} a sample, one for each class of the model, found "
            f"{logits.shape[1]}: give the model and the predictions that belong together"
        )
    outputs = outputs_of(model_classes, classes)
    chosen = np.asarray(logits)[:, outputs].astype(np.float32)
    is_bad = ~np.isfinite(chosen).all(axis=1)
    if is_bad.any():
        raise OptionError(
            f"{int(is_bad.sum())} of {len(chosen)} samples have a logit that is not finite, the first in row "
            f"{int(is_bad.argmax())}: predict again in float32 (--precision fp32)"
        )
    best = chosen.argmax(axis=1)
    # The largest is 1 / sum(exp(others - largest)): no logit is large enough to overflow.
    highest = np.take_along_axis(chosen, best[:, None], axis=1).astype(np.float64)
    confidence = 1 / np.exp(chosen - highest).sum(axis=1)
    return Restricted(outputs=outputs, logits=chosen, predicted=outputs[best], confidence=confidence)


def outputs_of(model_classes: Sequence[str] | None, classes: Sequence[str]) -> Int64s:
    """Positions among a model's outputs of those classes that it knows, int64 [K] ascending.

    Raises:
        OptionError: The model has no wnids, or knows none of the classes.
    """
    if model_classes is None:
        raise OptionError(
            "the model's outputs have no wnids, so its classes cannot be compared with a set's: give a model whose "
            "classes are known (a run of `shardtools train`, or one with the 1,000 outputs of ImageNet)"
        )
    position = {wnid: number for number, wnid in enumerate(model_classes)}
    found = [position[wnid] for wnid in classes if wnid in position]
    if not found:
        raise OptionError(
            f"the model knows none of {counted(len(classes), 'class', 'classes')} of the set ({_some(classes)}), its "
            f"own are {_some(model_classes)}: choose a set that has them"
        )
    return np.unique(np.array(found, np.int64))


def check_wnids(names: Sequence[str | None], dataset: str) -> None:
    """Refuses a dataset whose classes have no names, or only the numbers of folders.

    Args:
        names: Class name of each of its labeled samples, or the distinct ones.
        dataset: For the message.

    Raises:
        DatasetError: They say nothing of what is seen.
    """
    given = {name for name in names if name is not None}
    if not given:
        raise DatasetError(
            f"{dataset}: its labels are numbers without wnids, and a number means another class in every set: write "
            "it again with --classes (imagenet-1k, or a file of wnids in the order of the numbers)"
        )
    # ImageNet-V2's folders are "0" to "999", and sorted as texts "10" comes before "2".
    if all(_FOLDER_NUMBER.fullmatch(name) for name in given):
        raise DatasetError(
            f"{dataset}: its classes are called {_some(sorted(given))}: numbers of folders are no wnids: write it "
            "again with --classes (imagenet-1k, or a file of wnids in the order of the numbers)"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
