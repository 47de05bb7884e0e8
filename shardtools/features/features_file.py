"""`features.json` and `plan.json`: what a table of features holds, and of which encoder and dataset it is.

    DATASET/features/NAME/plan.json             what a run writes; before the first part
                          part-000000.npy       float16 [n, D]
                          part-000000.parquet   the keys of those rows, and the digest of the .npy; after it
                          features.json         the commit; after all parts

Owns the format and its version. Row order is the manifest's (shards, then places in them), over the rows that have an
image. The price of a fingerprint over everything that changes a feature: the same network with another interpolation
is another encoder, and their features are never compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from shardtools.documents import Document, Format, differences
from shardtools.errors import OptionError, PlanMismatchError
from shardtools.overlays import check_name

FEATURES_VERSION = 1
FEATURES_FILE = "features.json"
PLAN_FILE = "plan.json"
FEATURES_FOLDER = "features/"
DTYPES = ("float16", "float32")

_FORMAT = Format(
    name="shardtools-features",
    version=FEATURES_VERSION,
    what="a file of features",
    remedy="remove its folder, or extract the features again",
)
_KEYS_FILE = re.compile(r"part-(\d{6})\.parquet")
_PARTS_WANTED = 64
_MAX_ROWS_PER_PART = 8192
_MIN_BATCHES_PER_PART = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFacts:
    """Everything that decides on a feature, but the image.

    Attributes:
        name: Of the network: "lite0", "resnet50", "timm:vit_small_patch16_224".
        weights_sha256: Digest over names, types, shapes and values of its weights.
        feature_dim: Dimensions of a feature, D.
        layer: What is taken of the network: "pooled" is the input of its classifier.
        crop: "center" (shorter side to `resize`, the central square) or "resize" (the whole image to the square).
        image_size: Side of the square in pixels.
        resize: Shorter side of the resized image in pixels, with "center".
        interpolation: Of the resize.
        mean: Of the pixels, red, green, blue, on the scale of 0 to 1; they are taken off.
        std: Likewise; what is left is divided by them.
        precision: Of the network: "fp32", "bf16", "fp16".
        l2: Whether features are divided by their l2 norm.
        dtype: One of `DTYPES`.
    """

    name: str
    weights_sha256: str
    feature_dim: int
    layer: str = "pooled"
    crop: str = "center"
    image_size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    precision: str = "fp32"
    l2: bool = False
    dtype: str = "float16"

    def __post_init__(self) -> None:
        if self.feature_dim < 1:
            raise OptionError(f"feature_dim is at least 1, found {self.feature_dim}")
        if self.dtype not in DTYPES:
            raise OptionError(f"dtype is one of {', '.join(DTYPES)}, found {self.dtype!r}")

    @property
    def fingerprint(self) -> str:
        """sha256 over all fields, in hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def check_same_encoder(found: EncoderFacts, wanted: EncoderFacts, *, where: str, whose: str) -> None:
    """Refuses to compare features of two encoders.

    Args:
        found: Of the features at `where`.
        wanted: Of those that they are compared with.
        where: Names the former in the message.
        whose: Names the latter.

    Raises:
        PlanMismatchError: They differ; the message names the first few differences.
    """
    changed = differences(asdict(found), asdict(wanted))
    if changed:
        raise PlanMismatchError(
            f"features at {where} are of another encoder than {whose}: {'; '.join(changed[:3])}: extract both with "
            "one encoder"
        )


def rows_per_part(num_rows: int, batch_size: int) -> int:
    """Rows of a part: whole batches, few enough that several processes and a resumed run have parts to share.

    It depends on the dataset and the batch alone, so parts are the same for any number of processes.
    """
    wanted = min(max(-(-num_rows // _PARTS_WANTED), _MIN_BATCHES_PER_PART * batch_size), _MAX_ROWS_PER_PART)
    return -(-wanted // batch_size) * batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan(Document):
    """What a run writes; two runs with the same plan write the same parts.

    Attributes:
        name: Of the features.
        encoder: What makes them.
        dataset_sha256: Digest of the dataset's `dataset.json`.
        dataset_num_rows: Rows of the dataset.
        split: Only the rows of this split; `None` for all.
        num_rows: Rows with an image: those that a feature is asked of.
        batch_size: Images that go through the network together; the last ones are padded.
        rows_per_part: Rows of every part but the last.
    """

    format: ClassVar[Format] = _FORMAT

    name: str
    encoder: EncoderFacts
    dataset_sha256: str
    dataset_num_rows: int
    split: str | None
    num_rows: int
    batch_size: int
    rows_per_part: int

    @property
    def num_parts(self) -> int:
        """Parts of the whole table."""
        return -(-self.num_rows // self.rows_per_part)

    def rows_of(self, part: int) -> range:
        """Row numbers that a part (0-based) is asked for."""
        start = part * self.rows_per_part
        return range(start, min(start + self.rows_per_part, self.num_rows))

    def check(self, wanted: FeaturePlan, *, where: str) -> None:
        """Refuses to go on with another plan.

        Raises:
            PlanMismatchError: The message names what differs.
        """
        found, asked = (
            asdict(plan.encoder) | {**asdict(plan), "encoder": plan.encoder.name} for plan in (self, wanted)
        )
        changed = differences(found, asked)
        if changed:
            raise PlanMismatchError(
                f"{where} holds features of another kind: {'; '.join(changed[:3])}: give replace (--replace) to "
                "write them anew, or another name (--name)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An image without a feature: its key, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePart:
    """Two files that hold the same rows.

    Attributes:
        path: Of the features, `.npy`.
        num_rows: Rows, 0 or more.
        num_bytes: Length of that file.
        sha256: Its digest.
        keys_path: Of the keys, `.parquet`.
        skipped: Images of the part without a feature.
    """

    path: str
    num_rows: int
    num_bytes: int
    sha256: str
    keys_path: str
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesInfo(Document):
    """The content of `features.json`.

    Attributes:
        plan: What was written.
        parts: In the order of rows.
        source: What the encoder was loaded from, as it was typed: "encoder", "weights"; in no fingerprint.
    """

    format: ClassVar[Format] = _FORMAT

    plan: FeaturePlan
    parts: tuple[FeaturePart, ...]
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def encoder(self) -> EncoderFacts:
        """What made the features."""
        return self.plan.encoder

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return sum(part.num_rows for part in self.parts)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Images without a feature."""
        return tuple(one for part in self.parts for one in part.skipped)

    @property
    def fingerprint(self) -> str:
        """sha256 over the plan and the digests of all parts: equal where every feature is."""
        parts = "".join(part.sha256 for part in self.parts).encode()
        return hashlib.sha256(self.plan.to_json() + parts).hexdigest()


def part_path(number: int) -> str:
    """Name of a part's features."""
    return f"part-{number:06d}.npy"


def keys_path(number: int) -> str:
    """Name of a part's keys; the part is there when this file is."""
    return f"part-{number:06d}.parquet"


def part_number(path: str) -> int | None:
    """Number of the part whose keys are in that file; `None` for other files."""
    match = _KEYS_FILE.fullmatch(path)
    return None if match is None else int(match[1])


def features_folder(name: str) -> str:
    """Folder of features in their dataset.

    Raises:
        OptionError: Features cannot have that name.
    """
    try:
        check_name(name)
    except OptionError as error:
        raise OptionError(str(error).replace("an overlay", "a feature table")) from None
    return f"{FEATURES_FOLDER}{name}"
