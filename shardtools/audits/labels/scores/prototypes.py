"""How near a sample is to the means of the classes, with means that wrong labels do not pull.

Owns trimmed class means. The price of trimming by distance: a class of two unlike groups keeps the larger one; the
other scores of the audit see the smaller.
"""

from __future__ import annotations

import numpy as np

from shardtools.arrays import Float32s, Int64s

_ROUNDS = 3


def prototype_cosines(features: Float32s, labels: Int64s, num_classes: int, *, trim: float = 0.3) -> Float32s:
    """Cosine of each sample to each class's trimmed mean, without the sample itself in its own class's, [N, C].

    A mean is over the share 1 - trim of a class that is nearest to the mean before; three rounds.

    Args:
        features: [N, P], centred.
        labels: Given labels, [N].
        num_classes: C.
        trim: Share of each class that is left out, 0 to less than 1.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    sums = np.zeros((num_classes, unit.shape[1]), np.float32)
    kept = np.zeros(len(labels), bool)
    for label in range(num_classes):
        members = np.flatnonzero(labels == label)
        chosen = members
        # The first mean is pulled by what is far; each next one is of what lay near the one before.
        for _ in range(_ROUNDS):
            order = np.argsort(-(unit[members] @ unit[chosen].mean(axis=0)), kind="stable")
            chosen = members[order[: max(1, round((1 - trim) * len(members)))]]
        kept[chosen] = True
        sums[label] = unit[chosen].sum(axis=0)
    lengths = np.maximum(np.linalg.norm(sums, axis=1), 1e-12)
    cosines = unit @ (sums / lengths[:, None]).T
    # A sample that the mean of its class was made of is near it for that alone: it is measured against the mean without
    # it.
    rows = np.flatnonzero(kept)
    alone = sums[labels[rows]] - unit[rows]
    norms = np.maximum(np.linalg.norm(alone, axis=1), 1e-12)
    cosines[rows, labels[rows]] = (alone * unit[rows]).sum(axis=1) / norms
    return np.asarray(cosines, np.float32)
