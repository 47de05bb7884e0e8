"""Linear probes of all networks on all sets: what their features are worth without any fine-tuning.

Owns the features and what is kept of the probes. Those of the small network are extracted in this process, which has
torch: a start of it for each network and set would cost more than the features of a short study. EfficientNet-Lite has
a process of its own, whose memory is kept for its large tensors. The price of the former: a network that crashes takes
the study along, which goes on when it is started again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from shardtools.dataset import open_dataset
from shardtools.evaluation.probes import ProbeOptions, run_probe
from shardtools.execution import Progress, ignore, run_as_rank
from shardtools.features import Extraction, FeatureOptions, Job, extract_features, feature_names
from shardtools.pipelines.features.job import run_rank
from shardtools.pipelines.ranks import join_run
from shardtools.pipelines.studies.transfer.plan import LITE_ACCURACY, SETS, Network, StudyOptions
from shardtools.pipelines.studies.transfer.pretraining import pretraining_accuracies, pretraining_recipe
from shardtools.transfer import Point

METRIC = "top1_accuracy"
_MICRO = "resnet-micro"


def extract(options: StudyOptions, network: Network | str, name: str) -> None:
    """Features of a set by a network, unless they are there.

    Args:
        options: The study's.
        network: One of its own, or a name of EfficientNet-Lite.
        name: Of the set.
    """
    wanted = feature_options(options, network, name)
    if wanted.features_name in feature_names(open_dataset(wanted.dataset)):
        return
    if isinstance(network, str):
        extract_features(wanted)
        return
    world = join_run("cpu", 1, 1)
    stop = threading.Event()

    def work(job: Job, report: Progress) -> None:
        run_rank(job, world, report, stop)

    run_as_rank(Extraction(wanted, ignore), world, work, stop)


def feature_options(options: StudyOptions, network: Network | str, name: str) -> FeatureOptions:
    """What is asked for; an own network sees images as it was trained to."""
    if isinstance(network, str):
        return FeatureOptions(
            dataset=options.dataset(name), encoder=network, num_processes=1, threads=1, device="cpu", decoder="cpu"
        )
    recipe = pretraining_recipe(options, network.recipe)
    return FeatureOptions(
        dataset=options.dataset(name),
        encoder=_MICRO,
        weights=str(options.weights(network)),
        name=feature_name(network),
        image_size=recipe.image_size,
        resize=recipe.eval_resize,
        mean=recipe.mean,
        std=recipe.std,
        num_processes=1,
        threads=1,
        device="cpu",
        decoder="cpu",
    )


def feature_name(network: Network | str) -> str:
    """Name of a network's features."""
    return network if isinstance(network, str) else network.name


def probe(options: StudyOptions, network: Network | str, name: str) -> None:
    """Fits a classifier to a network's features of a set, and keeps its accuracy on the test split."""
    found = run_probe(
        ProbeOptions(
            dataset=options.dataset(name),
            features=feature_name(network),
            solver="lbfgs",
            l2=True,
            train_split="train",
            val_split="val",
            test_split="test",
            num_trials=options.trials,
            seeds=options.seeds,
            predictions="none",
            copies="keep",
        ),
        progress=ignore,
    )
    value = fmean(row.value for row in found.results if row.metric == METRIC)
    path = _file(options, network, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"accuracy": value}) + "\n", encoding="utf-8")


def is_probed(options: StudyOptions, network: Network | str, name: str) -> bool:
    """Whether its accuracy is there."""
    return _file(options, network, name).exists()


def probed_points(options: StudyOptions) -> tuple[Point, ...]:
    """The own networks with their accuracy in pretraining and that of their probes, then EfficientNet-Lite.

    The latter has no accuracy on what the others were pretrained on, so it is left out of correlations.
    """
    accuracies: Mapping[str, float] = pretraining_accuracies(options)
    own = [
        Point(model=one.name, accuracy=accuracies[one.name], values=_values(options, one)) for one in options.networks
    ]
    lite = [Point(model=name, accuracy=None, values=_values(options, name)) for name in options.lite]
    return (*own, *lite)


def lite_points(options: StudyOptions) -> tuple[Point, ...]:
    """EfficientNet-Lite with its accuracy on ImageNet."""
    return tuple(Point(model=one, accuracy=LITE_ACCURACY[one], values=_values(options, one)) for one in options.lite)


def _values(options: StudyOptions, network: Network | str) -> dict[str, float]:
    return {
        name: float(json.loads(_file(options, network, name).read_text(encoding="utf-8"))["accuracy"]) for name in SETS
    }


def _file(options: StudyOptions, network: Network | str, name: str) -> Path:
    return options.folder / "probes" / f"{feature_name(network)}-{name}.json"
