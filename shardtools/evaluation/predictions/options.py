"""What a user may ask of predictions, and what came of it.

Owns the names. What decides on a row goes into `PredictionPlan`; processes, threads and devices do not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from shardtools.corruption import SEVERITIES
from shardtools.errors import OptionError
from shardtools.evaluation.model_options import ModelOptions
from shardtools.evaluation.predictions.variants import CLEAN, variants_of
from shardtools.features import FeatureOptions
from shardtools.options import check_options, option, same
from shardtools.overlays import check_name

LOGITS = ("all", "top")
LABELS_BY = ("wnid", "index", "none")
MAX_NAME_LENGTH = 64
"""Characters of an overlay's name."""

_DIGITS = 8
_COUNTS = ("batch_size", "num_processes", "threads", "compute_threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Predictions of which model for which images, and where to.

    Attributes:
        datasets: Folders or s3:// addresses of finished datasets.
        model: What judges.
        name: Of the overlay in each dataset; `None` makes one of the model's name.
        out: A folder for the overlay itself, with one dataset; `None` puts it into the dataset.
        split: Only this split; `None` takes all.
        labels_by: How a class of the dataset becomes an output of the model: "wnid" by name, "index" by number, "none"
            leaves labels out.
        corruption: Names of corruptions of `shardtools.corruption`, "imagenet-c" for the fifteen, "extra" for the four
            others, "none" for the image as it is; empty for images as they are, in an overlay without variants.
        severity: Of each corruption, 1 to 5.
        seed: Of the corruptions, with the sample's key, its corruption and its severity.
        clean: Whether the corruptions leave out the accidents of the published program.
        logits: "all" keeps every logit, "top" the five greatest; `None` decides by their bytes.
        batch_size: Images that go through the network together.
        num_processes: Processes on this machine; `None` takes one a GPU, or one a core.
        threads: Threads that decode in each; `None` takes its share of the cores.
        compute_threads: CPU threads of torch in each.
        device: One of `DEVICES` of features.
        decoder: One of `DECODERS` of features.
        replace: Whether predictions of that name are written anew.

    Raises:
        OptionError: A value is out of range, or two contradict each other.
    """

    datasets: tuple[str, ...]
    model: ModelOptions
    name: str | None = field(default=None, metadata=option("Name of the overlay.", unset="predictions_MODEL"))
    out: str | None = field(
        default=None,
        metadata=option("Write the overlay there, where DATASET cannot be written.", metavar="FOLDER"),
    )
    split: str | None = field(default=None, metadata=option("Only this split.", unset="all"))
    labels_by: str = field(
        default="wnid", metadata=option("How the model's output of a class is found.", choices=LABELS_BY)
    )
    corruption: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Corrupt each image while predicting: imagenet-c, extra, none, or names, with commas between them.",
            metavar="NAMES",
            commas=True,
        ),
    )
    severity: tuple[int, ...] = field(
        default=SEVERITIES, metadata=option("Of the corruptions, with commas between them.", commas=True)
    )
    seed: int = field(default=0, metadata=option("Of the corruptions.", bounds=(0, 2**63 - 1)))
    clean: bool = field(
        default=False, metadata=option("Corrupt without the accidents of the published program (docs/corrupt.md).")
    )
    logits: str | None = field(
        default=None, metadata=option("Which logits are kept.", choices=LOGITS, unset="all up to 268 MB, else top")
    )
    batch_size: int = same(FeatureOptions, "batch_size")
    num_processes: int | None = same(FeatureOptions, "num_processes")
    threads: int | None = same(FeatureOptions, "threads")
    compute_threads: int = same(FeatureOptions, "compute_threads")
    device: str = same(FeatureOptions, "device")
    decoder: str = same(FeatureOptions, "decoder")
    replace: bool = field(default=False, metadata=option("Write anew predictions of that name."))

    def __post_init__(self) -> None:
        if isinstance(self.datasets, str) or not self.datasets or len(set(self.datasets)) < len(self.datasets):
            raise OptionError(f"datasets are different folders or s3:// addresses, found {self.datasets!r}")
        if self.out is not None and len(self.datasets) > 1:
            raise OptionError(
                f"out (--out) holds the overlay of one dataset, found {len(self.datasets)} datasets: predict one by one"
            )
        check_options(self)
        variants_of(self.corruption, self.severity)
        if not self.corruption and (self.severity != SEVERITIES or self.clean):
            raise OptionError("severity and clean are of corruptions, found none: give --corruption")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is at least 1, found {value}")
        check_name(self.overlay_name)

    @property
    def overlay_name(self) -> str:
        """Name of the overlay: as given, or one of the model's and the corruptions'."""
        return self.name if self.name is not None else predictions_name(self.model.model, self.corruption)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """What a run came to for one dataset.

    Attributes:
        dataset: Its address, as it was given.
        url: Folder of the overlay.
        name: Of the overlay.
        model: Name of the network.
        fingerprint: Of the model with its weights and preprocessing.
        num_rows: Rows of the overlay.
        num_unread: Rows of images that could not be read or decoded.
        num_labeled: Rows whose label is an output of the model.
        num_top1: Those of them whose label is the likeliest output.
        keeps_all: Whether all logits are kept.
        num_bytes: Of the overlay.
        images: Images that went through the network in this run, variants counted one by one; of all datasets.
        seconds: From the first to the last of them.
    """

    dataset: str
    url: str
    name: str
    model: str
    fingerprint: str
    num_rows: int
    num_unread: int
    num_labeled: int
    num_top1: int
    keeps_all: bool
    num_bytes: int
    images: int
    seconds: float


def predictions_name(model: str, corruption: Sequence[str] = ()) -> str:
    """Name of an overlay of predictions: the model's and the corruptions' in letters that SQL takes without quotes."""
    parts = [model.rstrip("/").rpartition("/")[2] or "model", *(name for name in corruption if name != CLEAN)]
    plain = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts]
    return shortened("_".join(["predictions", *filter(None, plain)]))


def shortened(name: str) -> str:
    """A name that an overlay may have: of a longer one its begin and a digest, so that no two are cut to the same."""
    if len(name) <= MAX_NAME_LENGTH:
        return name
    end = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: MAX_NAME_LENGTH - _DIGITS - 1].rstrip('_')}_{end}"
