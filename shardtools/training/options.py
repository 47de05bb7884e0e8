"""What a training run may be asked beside its recipe: on what, where, by how many processes.

Owns the names and their ranges. A recipe changes the weights; of a run's options those in `TrainOptions.result` do, the
others (processes, threads, logs) may differ between a run and its resumption. The price of checking here: what needs
the data, the number of processes or torch (whether a batch divides, whether an encoder exists) is checked later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shardtools.errors import OptionError
from shardtools.options import option
from shardtools.training.recipe import Recipe

DECODERS = ("auto", "cpu", "gpu")
DEVICES = ("auto", "cpu", "cuda")
WEIGHTED = ("loss", "sampling")
SHUFFLES = ("global", "blocks")
LABELS_BY = ("wnid", "index")
SELECTIONS = ("last", "best")
VAL_METRICS = {
    "top1": "share of right answers",
    "kappa": "quadratic weighted kappa of class numbers as grades",
    "macro_f1": "F1 of each class, mean of the classes; with the sigmoid head by thresholds tuned on the evaluation",
    "roc_auc": "area under the ROC curve, of two classes that of class 1, else the mean of each class against the rest",
}
"""What an evaluation is judged by -> what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """One training run.

    Attributes:
        datasets: Folders or s3:// addresses of finished datasets to train on.
        out: Local folder of the run, for checkpoints, metrics and plots.
        recipe: How to train.
        split: Split of the datasets; `None` for all. Not looked at with `view`.
        where: SQL condition on the rows of `samples`, for instance "width >= 200"; `None` for all.
        view: SQL that returns `key` and optionally `dataset`, `class_index`, `weight`; instead of `split` and `where`.
        relabel: Name of an overlay with `key` and `class_index`: labels to train with instead of the manifest's.
        ratio: Samples of each dataset in turn, for instance (1, 3); `None` goes through all of them as one.
        weighted: How a view's `weight` is used: "loss" or "sampling".
        val: Dataset to evaluate on; `None` for none.
        val_split: Its split.
        val_every: Epochs between evaluations; the last epoch is always evaluated.
        val_metric: One of `VAL_METRICS`, measured by each evaluation; `None` is "top1", with the sigmoid head
            "macro_f1".
        select: Which epoch's weights are kept: "last", or "best" by `val_metric` in the evaluations, of equal ones the
            first.
        test_split: Split of `val` that the kept weights are tested on once, at the end; `None` for none. It decides on
            nothing.
        labels_by: One of `LABELS_BY`: "wnid" finds classes by their names where datasets number them differently, on a
            subset too; "index" takes all numbers as they are.
        init: What the encoder starts from, for fine-tuning: a local file, the folder of a training run, or the
            encoder's own name where a package brings its weights ("lite0"); `None` draws first weights.
        init_head: What the head starts from, for linear probing and then fine-tuning: the folder of a probe's run or a
            file of its weights; classes are found by their names. `None` draws it.
        seed: Of the order, the augmentation and the first weights.
        num_processes: Processes of this machine; `None` takes one a GPU, or one on a CPU.
        threads: CPU threads that decode in each process; `None` shares the cores among the processes.
        compute_threads: CPU threads of torch in each process; `None` shares the cores among the processes on a CPU, and
            is 1 beside a GPU.
        accumulation: Forward and backward passes of one optimiser step in each process.
        device: One of `DEVICES`.
        decoder: One of `DECODERS`: where JPEGs are decoded and augmented; "auto" takes the GPU where there is one.
        compile: Whether the model goes through `torch.compile`.
        channels_last: Whether the model's weights are in channels-last memory.
        checkpoint_steps: Optimiser steps between checkpoints; `None` for one an epoch, which is made in any case.
        keep_checkpoints: Checkpoints kept beside the last one.
        log_steps: Optimiser steps between lines of metrics.
        record: Whether loss, margin, prediction and correctness of each sample are written at the end of each epoch.
        tensorboard: Whether metrics also go to TensorBoard's files.
        wandb: Project of Weights & Biases that metrics also go to; `None` for none.
        shuffle: One of the loader's orders but "none": "global" or "blocks".
        cache_folder: Folder for what was read of object stores; with `cache_bytes`.
        cache_bytes: Its limit, at least 16 MiB.

    Raises:
        OptionError: A value is out of range, or two contradict each other.
    """

    datasets: tuple[str, ...]
    out: str = field(
        metadata=option("Folder for checkpoints, metrics, curves and the weights. Required.", metavar="RUN")
    )
    recipe: Recipe
    split: str | None = field(default="train", metadata=option('Split to train on; "all" for every one.'))
    where: str | None = field(
        default=None, metadata=option('Condition on the rows of `samples`: "width >= 200".', metavar="SQL")
    )
    view: str | None = field(
        default=None,
        metadata=option("Query that returns key and maybe class_index, weight; or a .sql file.", metavar="SQL"),
    )
    relabel: str | None = field(
        default=None, metadata=option("Overlay with key and class_index: labels to train with.", metavar="OVERLAY")
    )
    ratio: tuple[int, ...] | None = None
    weighted: str = field(default="loss", metadata=option("What a view's `weight` does.", choices=WEIGHTED))
    val: str | None = field(
        default=None, metadata=option("Evaluate on this dataset while training.", metavar="DATASET")
    )
    val_split: str = field(default="val", metadata=option("Its split."))
    val_every: int = field(default=1, metadata=option("Epochs between evaluations."))
    val_metric: str | None = field(
        default=None,
        metadata=option(
            "What an evaluation is judged by.", choices=VAL_METRICS, unset="top1, with the sigmoid head macro_f1"
        ),
    )
    select: str = field(
        default="last", metadata=option("Which epoch's weights are kept: best by --val-metric.", choices=SELECTIONS)
    )
    test_split: str | None = field(
        default=None,
        metadata=option("Split of --val to test the kept weights on, once.", metavar="SPLIT", unset="none"),
    )
    labels_by: str = field(
        default="wnid",
        metadata=option("What says which class a label is: its wnid or name, or its number.", choices=LABELS_BY),
    )
    init: str | None = field(
        default=None,
        metadata=option(
            "First weights of the encoder: a file, a run's folder, or lite0 where that is the encoder.",
            metavar="WEIGHTS",
            unset="drawn",
        ),
    )
    init_head: str | None = field(
        default=None,
        metadata=option("First weights of the head: a probe's folder or file.", metavar="PROBE", unset="drawn"),
    )
    seed: int = field(default=0, metadata=option("Of order, augmentation and first weights."))
    shuffle: str = field(default="global", metadata=option(choices=SHUFFLES))
    num_processes: int | None = field(
        default=None, metadata=option("Processes on this machine.", unset="one a GPU, or one on a CPU")
    )
    threads: int | None = field(
        default=None, metadata=option("Threads that decode in each process.", unset="its share of the cores")
    )
    compute_threads: int | None = field(
        default=None, metadata=option("CPU threads of torch in each.", unset="its share, 1 beside a GPU")
    )
    accumulation: int = field(default=1, metadata=option("Passes of one optimiser step."))
    device: str = field(default="auto", metadata=option(choices=DEVICES))
    decoder: str = field(default="auto", metadata=option("Where JPEGs are decoded and augmented.", choices=DECODERS))
    compile: bool = field(default=False, metadata=option("Compile the model (slow start, faster steps)."))
    channels_last: bool = field(default=False, metadata=option("Weights in channels-last memory."))
    checkpoint_steps: int | None = field(
        default=None, metadata=option("Steps between checkpoints.", unset="one an epoch")
    )
    keep_checkpoints: int = field(default=1, metadata=option("Kept beside the last one."))
    log_steps: int = field(default=50, metadata=option("Steps between lines of metrics."))
    record: bool = field(
        default=False, metadata=option("Write loss, margin and prediction of each sample, an epoch a time.")
    )
    tensorboard: bool = field(default=True, metadata=option("Metrics for TensorBoard too."))
    wandb: str | None = field(default=None, metadata=option("Metrics for Weights & Biases too.", metavar="PROJECT"))
    cache_folder: str | None = field(
        default=None, metadata=option("Keep what was read of s3:// here; with --cache-gb.")
    )
    cache_bytes: int | None = field(
        default=None, metadata=option("Its limit in GB (10^9 bytes).", flag="--cache-gb", unit=10**9)
    )

    def __post_init__(self) -> None:
        if isinstance(self.datasets, str) or not self.datasets:
            raise OptionError(
                f"training needs a tuple of datasets, found {self.datasets!r}: name folders or s3:// addresses"
            )
        choices = {
            "device": DEVICES,
            "decoder": DECODERS,
            "weighted": WEIGHTED,
            "shuffle": SHUFFLES,
            "labels_by": LABELS_BY,
            "select": SELECTIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name} is one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        for name in ("val_every", "accumulation", "keep_checkpoints", "log_steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        for name in ("num_processes", "threads", "compute_threads", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is at least 1, found {value}")
        if self.view is not None and (self.where is not None or self.relabel is not None):
            raise OptionError("a view says itself what is read and as which class: give view, or where and relabel")
        if self.ratio is not None and len(self.ratio) != len(self.datasets):
            raise OptionError(f"ratio has one number a dataset ({len(self.datasets)}), found {len(self.ratio)}")
        if self.ratio is not None and min(self.ratio) < 1:
            raise OptionError(f"each number of ratio is at least 1, found {self.ratio}: leave out what is not wanted")
        if self.weighted == "sampling" and self.view is None:
            raise OptionError("weighted 'sampling' takes the weights of a view: give a view with a column `weight`")
        if self.record and self.recipe.is_mixed:
            raise OptionError(
                "records say what the network makes of one sample, and mixup and cutmix show it two in one: leave "
                "record out, or set mixup and cutmix to 0"
            )
        if self.val_metric is not None and self.val_metric not in VAL_METRICS:
            raise OptionError(f"val_metric is one of {', '.join(VAL_METRICS)}, found {self.val_metric!r}")
        if self.recipe.head == "sigmoid":
            self._check_sets()
        if self.val is None and (self.select == "best" or self.test_split is not None):
            raise OptionError(
                f"{'select best' if self.select == 'best' else 'test_split'} needs an evaluation: give val, a dataset"
            )
        if (self.cache_folder is None) != (self.cache_bytes is None):
            raise OptionError("cache_folder and cache_bytes belong together: give both or none")

    def _check_sets(self) -> None:
        """What images of several classes do not have."""
        head = "head 'sigmoid' is for images that may have several classes"
        if self.metric not in ("macro_f1", "roc_auc"):
            raise OptionError(f"{head}: val_metric is macro_f1 or roc_auc, found {self.val_metric!r}")
        if self.relabel is not None:
            raise OptionError(f"{head}, and relabel gives each one: leave relabel out")
        if self.record:
            raise OptionError(f"{head}, and records say which one an image is taken for: leave record out")

    @property
    def metric(self) -> str:
        """What an evaluation is judged by."""
        return self.val_metric or ("macro_f1" if self.recipe.head == "sigmoid" else "top1")

    def result(self) -> dict[str, Any]:
        """The options that change the weights or the result, for a checkpoint: a run is resumed only with the same."""
        names = ("datasets", "split", "where", "view", "relabel", "ratio", "weighted", "seed", "shuffle")
        return {
            **{name: getattr(self, name) for name in names},
            # Late: runs that were begun before it was there go on.
            **({} if self.labels_by == "wnid" else {"labels_by": self.labels_by}),
            **({} if self.init is None else {"init": self.init}),
            **({} if self.init_head is None else {"init_head": self.init_head}),
            **({} if self.select == "last" else {name: getattr(self, name) for name in _OF_SELECTION}),
            **({} if self.test_split is None else {"val": self.val, "test_split": self.test_split}),
            **{f"recipe.{name}": value for name, value in self.recipe.settings().items()},
        }


_OF_SELECTION = ("select", "val", "val_split", "val_every", "metric")
"""What decides on the epoch whose weights are kept, where it is not the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run ended with.

    Attributes:
        out: Its folder.
        epochs: Finished, over all runs in the folder.
        steps: Optimiser steps, likewise.
        images: Training images seen by this run.
        seconds: Wall time of this run.
        metrics: What the kept weights reach, the last evaluation's or with `select` the best one's: "val_top1" and
            "val_top5" in percent, "val_loss", the run's own metric ("val_kappa", a part of one), the same with "test_"
            where there is a `test_split`, and then, or with "best", "best_epoch"; empty without an evaluation.
        finished: Whether all epochs are done; a signal ends a run early.
    """

    out: str
    epochs: int
    steps: int
    images: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    finished: bool = True
