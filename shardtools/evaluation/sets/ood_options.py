"""What a user may ask of `evaluate_ood`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.evaluation.model_options import ModelOptions
from shardtools.evaluation.predictions import PredictOptions
from shardtools.evaluation.sets.test_sets import TEST_SETS, TestSet
from shardtools.options import check_options, option, same

# A comma stands between two sets only where NAME= or NAME:PART= follows, so that addresses may hold commas.
_BETWEEN = re.compile(r",(?=[a-z0-9-]+(?::[^=,/]+)?=)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRequest:
    """One dataset to judge models on.

    Attributes:
        test_set: What it is.
        part: A variant of ImageNet-9, or the dataset's own name for "plain"; "" for a set of one dataset.
        dataset: Folder or address.
    """

    test_set: TestSet
    part: str
    dataset: str

    @property
    def label(self) -> str:
        """As it was typed before "="."""
        return f"{self.test_set.name}:{self.part}" if self.part else self.test_set.name


@dataclass(frozen=True, slots=True, kw_only=True)
class OodOptions:
    """Which models are judged on which test sets, and how.

    Attributes:
        models: As `ModelOptions.model`.
        on: Test sets, "NAME=DATASET" or "NAME:PART=DATASET"; one text may hold several with commas between them.
        split: Only this split of every dataset.
        name: Of the predictions in every dataset; with one model.
        on_the_fly: Whether the pictures of `c` are corrupted while predicting.
        corruption: What is done to them then, as `PredictOptions.corruption` takes it.
        seed: Of these corruptions.
        predict: Whether predictions that are missing are made; else they must be there.
        replace: Whether predictions of another state of the model, or made otherwise, are written anew.
        protocol: A published protocol that prepares the images of each set; see `ModelOptions`.
        weights: Of the model, a local file; with one model.
        pretrained: Whether weights that timm or torchvision publishes are fetched.
        precision: Of the forward pass.
        force_resize: Whether squares that were cut out already go through the model's own resize and cut.
        real_labels: ReaL's list.
        imagenet_x: ImageNet-X's annotations.
        imagenet_x_prototypes: Its list of prototypes.
        in9_map: ImageNet-9's map.
        batch_size: As in `PredictOptions`, like the four below.
        num_processes: Processes on this machine.
        threads: Threads that decode in each.
        compute_threads: CPU threads of torch in each.
        device: Where models run.

    Raises:
        OptionError: No model or set, one twice, a set that is not known, or a value out of range.
    """

    models: tuple[str, ...]
    on: tuple[str, ...] = field(
        metadata=option(
            f"Test sets: NAME=DATASET,... with the names {', '.join(TEST_SETS)}; in9:VARIANT=..., plain:TITLE=....",
            metavar="NAME=DATASET,...",
        )
    )
    split: str | None = field(default=None, metadata=option("Only this split of every dataset.", unset="all"))
    name: str | None = field(
        default=None, metadata=option("Name of the predictions in every dataset.", unset="made of the model's")
    )
    on_the_fly: bool = field(default=False, metadata=option("Corrupt the pictures of c while predicting."))
    corruption: tuple[str, ...] = field(
        default=("none", "imagenet-c"),
        metadata=option("What is done to them: imagenet-c, extra, none, or names.", metavar="NAMES", commas=True),
    )
    seed: int = same(PredictOptions, "seed")
    predict: bool = field(
        default=True, metadata=option("Take the predictions that are there; make none.", flag="--no-predict")
    )
    replace: bool = same(PredictOptions, "replace")
    protocol: str | None = same(ModelOptions, "protocol")
    weights: str | None = same(ModelOptions, "weights")
    pretrained: bool = same(ModelOptions, "pretrained")
    precision: str = same(ModelOptions, "precision")
    force_resize: bool = same(ModelOptions, "force_resize")
    real_labels: str | None = field(
        default=None, metadata=option("ReaL's list of labels, real.json.", metavar="FILE", unset="timm's copy")
    )
    imagenet_x: str | None = field(
        default=None, metadata=option("ImageNet-X's annotations, imagenet_x_val_multi_factor.jsonl.", metavar="FILE")
    )
    imagenet_x_prototypes: str | None = field(
        default=None, metadata=option("Its prototypical_paths.csv: pictures to leave out.", metavar="FILE")
    )
    in9_map: str | None = field(
        default=None, metadata=option("ImageNet-9's map of classes, in_to_in9.json.", metavar="FILE")
    )
    batch_size: int = same(PredictOptions, "batch_size")
    num_processes: int | None = same(PredictOptions, "num_processes")
    threads: int | None = same(PredictOptions, "threads")
    compute_threads: int = same(PredictOptions, "compute_threads")
    device: str = same(PredictOptions, "device")

    def __post_init__(self) -> None:
        if isinstance(self.models, str) or not self.models or len(set(self.models)) < len(self.models):
            raise OptionError(f"models are different names, at least one, found {self.models!r}")
        check_options(self)
        requests = self.requests
        labels = [one.label for one in requests]
        twice = next((label for number, label in enumerate(labels) if label in labels[:number]), None)
        if twice is not None:
            raise OptionError(f"--on has {twice} twice: give each once (plain:TITLE=... names several of your own)")
        for option_name in ("name", "weights"):
            if getattr(self, option_name) is not None and len(self.models) > 1:
                raise OptionError(f"--{option_name} is of one model, found {len(self.models)} models: leave it out")
        if self.replace and not self.predict:
            raise OptionError("--replace makes predictions anew and --no-predict makes none: leave one of them out")
        if self.on_the_fly and not any(one.test_set.kind == "corrupted" for one in requests):
            raise OptionError("--on-the-fly corrupts the pictures of c, found no c in --on: give --on c=DATASET")

    @property
    def requests(self) -> tuple[SetRequest, ...]:
        """The datasets, in their order.

        Raises:
            OptionError: One is not of the form, or names no set.
        """
        texts = [text for given in self.on for text in _BETWEEN.split(given)]
        if not texts:
            raise OptionError("--on names no test set: give NAME=DATASET")
        return tuple(map(_request, texts))


def _request(text: str) -> SetRequest:
    label, equals, dataset = text.partition("=")
    name, _, part = label.strip().partition(":")
    if not equals or not dataset.strip() or not name:
        raise OptionError(f"--on is NAME=DATASET, found {text!r}")
    if name not in TEST_SETS:
        raise OptionError(
            f"--on knows the sets {', '.join(TEST_SETS)}, found {name!r}: for a set of your own give plain={dataset}"
        )
    dataset = dataset.strip()
    test_set = TEST_SETS[name]
    if not part and test_set.kind == "classes" and not test_set.dataset:
        part = dataset.rstrip("/").rpartition("/")[2]
    return SetRequest(test_set=test_set, part=part, dataset=dataset)
