"""The test sets that `eval ood` knows: their classes, what is measured on them, and how their files are to be resized.

Owns one visible list. An entry says what the set's authors prescribe; each module beside this one measures one kind
(`judging.py` lists which). The price of a list by name: a set of one's own is "plain", judged among all the model's
classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["classes", "real", "factors", "backgrounds", "corrupted", "sequences", "cues", "categories"]

PHOTOS = "the model's own, from the whole picture"
AS_IS = "none: files of 224 pixels are taken as they are"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """One test set.

    Attributes:
        name: What stands before "=" in `--on`.
        title: Its name in tables.
        dataset: Its name in results.
        split: Which part of that it is, in results.
        class_set: Class set whose wnids it has; `None` where its own classes say (any that the model knows).
        is_restricted: Whether it is judged among its own classes, and beside that among all.
        kind: Which figures are made of it.
        metrics: Their names, the first the one that tables show.
        resize: The right one, in words.
        is_native: Whether its files have the size at which they are judged, so that another resize spoils them.
    """

    # pytest takes classes called Test... for tests.
    __test__ = False

    name: str
    title: str
    dataset: str
    split: str = ""
    class_set: str | None = "imagenet-1k"
    is_restricted: bool = False
    kind: Kind = "classes"
    metrics: tuple[str, ...] = ("top1_accuracy", "top5_accuracy")
    resize: str = PHOTOS
    is_native: bool = False


_CALIBRATED = ("top1_accuracy", "top5_accuracy", "rms_calibration_error", "aurra")
_CUES = ("shape_bias", "cue_accuracy")

_SETS = (
    TestSet(name="imagenet", title="ImageNet", dataset="imagenet", metrics=_CALIBRATED),
    TestSet(
        name="v2-matched-frequency", title="V2 (matched frequency)", dataset="imagenet-v2", split="matched-frequency"
    ),
    TestSet(name="v2-threshold", title="V2 (threshold 0.7)", dataset="imagenet-v2", split="threshold"),
    TestSet(name="v2-top-images", title="V2 (top images)", dataset="imagenet-v2", split="top-images"),
    TestSet(name="sketch", title="Sketch", dataset="imagenet-sketch"),
    TestSet(name="a", title="A", dataset="imagenet-a", class_set="imagenet-a", is_restricted=True, metrics=_CALIBRATED),
    TestSet(name="r", title="R", dataset="imagenet-r", class_set="imagenet-r", is_restricted=True, metrics=_CALIBRATED),
    TestSet(name="real", title="ReaL", dataset="imagenet-real", kind="real", metrics=("top1_accuracy",)),
    TestSet(
        name="x", title="X (factors)", dataset="imagenet-x", kind="factors", metrics=("top1_accuracy", "error_ratio")
    ),
    TestSet(
        name="in9",
        title="Backgrounds",
        dataset="imagenet-9",
        class_set=None,
        kind="backgrounds",
        metrics=("top1_accuracy", "background_gap"),
        resize=AS_IS,
        is_native=True,
    ),
    TestSet(
        name="c",
        title="C",
        dataset="imagenet-c",
        class_set=None,
        kind="corrupted",
        metrics=("mean_corruption_error", "mean_error", "relative_mean_corruption_error", "clean_error"),
        resize=AS_IS,
        is_native=True,
    ),
    TestSet(
        name="p",
        title="P",
        dataset="imagenet-p",
        class_set=None,
        kind="sequences",
        metrics=("flip_probability", "top5_distance", "zipf_distance"),
        resize=AS_IS,
        is_native=True,
    ),
    TestSet(
        name="cue-conflict",
        title="Cue conflict",
        dataset="cue-conflict",
        class_set=None,
        kind="cues",
        metrics=_CUES,
        resize=AS_IS,
        is_native=True,
    ),
    TestSet(
        name="silhouettes",
        title="Silhouettes",
        dataset="silhouettes",
        class_set=None,
        kind="categories",
        metrics=("top1_accuracy",),
        resize=AS_IS,
        is_native=True,
    ),
    TestSet(
        name="edges",
        title="Edges",
        dataset="edges",
        class_set=None,
        kind="categories",
        metrics=("top1_accuracy",),
        resize=AS_IS,
        is_native=True,
    ),
    TestSet(name="plain", title="", dataset="", class_set=None, metrics=_CALIBRATED),
)

TEST_SETS: dict[str, TestSet] = {one.name: one for one in _SETS}
"""Name -> test set.

Sources. imagenet: Russakovsky et al. 2015. v2-...: Recht et al., "Do ImageNet Classifiers Generalize to ImageNet?",
2019. sketch: Wang et al. 2019. a: Hendrycks et al., "Natural Adversarial Examples", 2021. r: Hendrycks et al., "The
Many Faces of Robustness", 2021. real: Beyer et al., "Are we done with ImageNet?", 2020. x: Idrissi et al.,
"ImageNet-X", 2022. in9: Xiao et al., "Noise or Signal", 2020. c, p: Hendrycks and Dietterich, 2019. cue-conflict,
silhouettes, edges: Geirhos et al., "ImageNet-trained CNNs are biased towards texture", 2019.
"""
