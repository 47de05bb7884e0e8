"""The overlay of an attack: a row an image, arrays in, an Arrow table out; and what the rows add up to.

Owns the columns and their meanings. All answers are those of the judged model, for the image that the attack gave back,
looked at once more after it; the price is a forward pass an image, against answers that depend on the company in which
an image was attacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Bools, Float32s, Float64s, Int32s, filled, from_numbers, from_texts

KEY = "key"
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "label": (pa.int32(), "the given label as an output of the model"),
    "target": (pa.int32(), "the output that the image was to be taken for; null without an aim"),
    "clean_class": (pa.int32(), "the model's answer before"),
    "attacked_class": (pa.int32(), "the model's answer afterwards"),
    "success": (pa.bool_(), "whether that is the target; without one, whether it is another class than the label"),
    "steps": (pa.int32(), "gradients that the attack took, over all restarts"),
    "linf": (pa.float64(), "largest difference of a pixel value, 0 to 1"),
    "l2": (pa.float64(), "Euclidean difference, of pixel values of 0 to 1"),
    "confidence": (pa.float32(), "probability of the answer afterwards, 0 to 1"),
    "stored_class": (pa.int32(), "the answer for the image as it is stored, in 256 levels; null where none is"),
    "reason": (pa.string(), "why the image was not attacked; all other columns but label are null then"),
}
"""Column -> type and meaning, in the order of the file, after the key."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attacked:
    """What became of images, in their order; a field of arrays a column of `COLUMNS`.

    Attributes:
        places: In the batch, rising, int64 [n].
        target: int32 [n]; `None` without an aim.
        clean_class: int32 [n].
        attacked_class: int32 [n].
        success: bool [n].
        steps: int32 [n].
        linf: float64 [n].
        l2: float64 [n].
        confidence: float32 [n].
        stored_class: int32 [n]; `None` where no image is stored.
    """

    places: npt.NDArray[np.int64]
    target: Int32s | None
    clean_class: Int32s
    attacked_class: Int32s
    success: Bools
    steps: Int32s
    linf: Float64s
    l2: Float64s
    confidence: Float32s
    stored_class: Int32s | None


def attack_table(keys: Sequence[str], labels: Int32s, attacked: Attacked, reasons: Mapping[int, str]) -> pa.Table:
    """Rows of a batch.

    Args:
        keys: Of its samples, N of them.
        labels: Outputs of the model, negative for none, int32 [N].
        attacked: Those that were attacked.
        reasons: Place -> why it was not, of all others.
    """
    count = len(keys)
    is_attacked = np.zeros(count, np.bool_)
    is_attacked[attacked.places] = True
    assert set(reasons) == set(np.flatnonzero(~is_attacked).tolist())
    columns = {KEY: from_texts(keys), "label": from_numbers(labels.astype(np.int32), labels >= 0)}
    for name, (kind, _) in list(COLUMNS.items())[1:-1]:
        values = getattr(attacked, name)
        if values is None:
            columns[name] = pa.nulls(count, kind)
            continue
        wide = np.zeros(count, values.dtype)
        wide[attacked.places] = values
        if kind == pa.bool_():
            pairs = zip(wide.tolist(), is_attacked.tolist(), strict=True)
            columns[name] = pa.array([value if known else None for value, known in pairs], kind)
        else:
            columns[name] = from_numbers(wide, is_attacked)
    columns["reason"] = pa.array([reasons.get(place) for place in range(count)], pa.string())
    return pa.table(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackFigures:
    """What the rows of an attack add up to; shares are 0 to 1, of the images that were attacked.

    Attributes:
        num_attacked: Images.
        clean_accuracy: Right before.
        accuracy: Right afterwards: with pgd-seed, the seed's adversarial accuracy.
        success: What they were to become.
        max_linf: Largest difference of a pixel value.
    """

    num_attacked: int
    clean_accuracy: float
    accuracy: float
    success: float
    max_linf: float


def figures_of(rows: pa.Table) -> AttackFigures:
    """The figures of an overlay's rows; of none, all shares are 0."""
    label, clean, attacked = (filled(rows[name], -1) for name in ("label", "clean_class", "attacked_class"))
    is_attacked = attacked >= 0
    count = int(is_attacked.sum())
    success = sum(value is True for value in rows["success"].to_pylist())
    return AttackFigures(
        num_attacked=count,
        clean_accuracy=int((is_attacked & (clean == label)).sum()) / max(count, 1),
        accuracy=int((is_attacked & (attacked == label)).sum()) / max(count, 1),
        success=success / max(count, 1),
        max_linf=float(filled(rows["linf"], 0.0).max(initial=0.0)),
    )
