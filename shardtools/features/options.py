"""What a user may ask of an extraction, and what came of it.

Owns the names. What decides on a feature goes into `EncoderFacts`; processes, threads and devices do not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardtools.decode import INTERPOLATIONS
from shardtools.errors import OptionError
from shardtools.features.features_file import DTYPES, features_folder
from shardtools.features.protocols import FEATURE_PROTOCOLS
from shardtools.options import option

CROPS = ("center", "resize")
PRECISIONS = ("fp32", "bf16", "fp16")
DEVICES = ("auto", "cpu", "cuda")
DECODERS = ("auto", "cpu", "gpu")
_OF_PROTOCOL = ("crop", "image_size", "resize", "interpolation")
_COUNTS = ("image_size", "resize", "batch_size", "num_processes", "threads", "compute_threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureOptions:
    """Features of which images, by what, and where to.

    Attributes:
        dataset: Folder or s3:// address of a finished dataset.
        encoder: "lite0" (EfficientNet-Lite0 with the weights of its package; "lite1" and "lite2" are its larger
            sisters), a model of torchvision, "timm:NAME", "resnet-micro", the folder of a training run with its
            model.safetensors, or that of a dual encoder of transformers such as CLIP ("clip:FOLDER" or
            "transformers:FOLDER" says so).
        name: Of the features in the dataset; `None` makes one of the encoder's.
        weights: Local file with the encoder's weights; runs and lite0 bring their own.
        out: A folder for the features alone; `None` puts them into the dataset.
        split: Only this split; `None` takes all.
        protocol: A name of `FEATURE_PROTOCOLS`, which says how images are cut and resized; `None` leaves it to what is
            below.
        crop: "center" or "resize", see `EncoderFacts`; `None` takes what the encoder was trained with, as the five
            below.
        image_size: Side in pixels.
        resize: Shorter side before the centre is cut.
        interpolation: One of `decode.INTERPOLATIONS`.
        mean: Of the pixels, 0 to 1.
        std: Likewise, above 0.
        l2: Whether features get length 1.
        dtype: One of `DTYPES`.
        precision: One of `PRECISIONS`.
        batch_size: Images that go through the network together.
        num_processes: Processes on this machine; `None` takes one a GPU, or one a core.
        threads: Threads that decode in each; `None` takes its share of the cores.
        compute_threads: CPU threads of torch in each.
        device: One of `DEVICES`.
        decoder: One of `DECODERS`.
        replace: Whether features of that name are written anew.

    Raises:
        OptionError: A value is out of range.
    """

    dataset: str
    encoder: str = field(
        metadata=option("lite0, a torchvision model, timm:NAME, a training run's folder, clip:FOLDER.")
    )
    weights: str | None = field(
        default=None,
        metadata=option("Weights of the encoder, a local file; lite0 and runs bring theirs.", metavar="FILE"),
    )
    name: str | None = field(default=None, metadata=option("Name of the features.", unset="the encoder's"))
    out: str | None = field(
        default=None, metadata=option("Write the features there, where DATASET cannot be written.", metavar="FOLDER")
    )
    split: str | None = field(default=None, metadata=option("Only this split.", unset="all"))
    protocol: str | None = field(
        default=None,
        metadata=option(
            "Cut and resize as published: bicubic, the centre of 224 pixels of a shorter side of 224.",
            choices=tuple(FEATURE_PROTOCOLS),
        ),
    )
    crop: str | None = field(default=None, metadata=option(choices=CROPS, unset="the encoder's"))
    image_size: int | None = field(
        default=None, metadata=option("Side of the square that the encoder sees.", unset="the encoder's")
    )
    resize: int | None = field(
        default=None, metadata=option("Shorter side before the centre is cut.", unset="the encoder's")
    )
    interpolation: str | None = field(default=None, metadata=option(choices=INTERPOLATIONS, unset="the encoder's"))
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    l2: bool = field(default=False, metadata=option("Give every feature length 1."))
    dtype: str = field(default="float16", metadata=option(choices=DTYPES))
    precision: str = field(default="fp32", metadata=option(choices=PRECISIONS))
    batch_size: int = field(default=64, metadata=option("Images that go through it together."))
    num_processes: int | None = field(
        default=None, metadata=option("Processes on this machine.", unset="one a GPU, or one a core")
    )
    threads: int | None = field(
        default=None, metadata=option("Threads that decode in each process.", unset="its share of the cores")
    )
    compute_threads: int = field(default=1, metadata=option("CPU threads of torch in each."))
    device: str = field(default="auto", metadata=option(choices=DEVICES))
    decoder: str = field(default="auto", metadata=option(choices=DECODERS))
    replace: bool = field(default=False, metadata=option("Write anew features of that name."))

    def __post_init__(self) -> None:
        if not self.encoder:
            raise OptionError("encoder is a name or a training run's folder, found an empty one: lite0 needs no file")
        given = [name for name in _OF_PROTOCOL if getattr(self, name) is not None]
        if self.protocol is not None and given:
            raise OptionError(
                f"--protocol {self.protocol} says how images are cut and resized, found {given[0]} too: leave one out"
            )
        for name, known in (
            ("protocol", (None, *FEATURE_PROTOCOLS)),
            ("crop", (None, *CROPS)),
            ("dtype", DTYPES),
            ("precision", PRECISIONS),
            ("device", DEVICES),
            ("decoder", DECODERS),
            ("interpolation", (None, *INTERPOLATIONS)),
        ):
            if getattr(self, name) not in known:
                raise OptionError(f"{name} is one of {', '.join(filter(None, known))}, found {getattr(self, name)!r}")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is at least 1, found {value}")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None and (len(value) != 3 or not all(map(math.isfinite, value))):
                raise OptionError(f"{name} is three numbers, found {value}")
        if self.std is not None and min(self.std) <= 0:
            raise OptionError(f"std is three numbers above 0, found {self.std}")
        features_folder(self.features_name)

    @property
    def features_name(self) -> str:
        """Name of the features: as given, or the encoder's in letters that a name may have."""
        if self.name is not None:
            return self.name
        plain = re.sub(r"[^a-z0-9_]+", "-", self.encoder.rstrip("/").rpartition("/")[2].lower()).strip("-")[:64]
        return plain if plain[:1].isalpha() else f"f-{plain}"[:64]

    @property
    def source(self) -> dict[str, Any]:
        """What the encoder is loaded from, for `search` by image."""
        return {"encoder": self.encoder, "weights": self.weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureResult:
    """What a run came to.

    Attributes:
        url: Folder of the features.
        name: Of the features in their dataset.
        encoder: Fields of `EncoderFacts`.
        num_rows: Features in all.
        num_skipped: Images without one, because they could not be read or decoded.
        images: Images that went through the network in this run.
        seconds: From the first to the last of them.
    """

    url: str
    name: str
    encoder: Mapping[str, Any]
    num_rows: int
    num_skipped: int
    images: int
    seconds: float
