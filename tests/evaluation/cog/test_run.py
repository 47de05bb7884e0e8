"""Runs over levels: probes by level, their names, rows, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.cog import CogOptions, PartOptions, own_figures, run_cog, write_parts
from shardtools.overlays import write_overlay
from shardtools.sql import query
from tests.helpers.cog_worlds import FAR, levels, make_world
from tests.helpers.feature_datasets import clusters, with_features

KEYS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = make_world(tmp_path_factory.mktemp("run") / "in21k", noise=1.5)
    with_features(url, clusters(KEYS, 8, 6, noise=0.1, seed=1), name="better", weights_sha256="1" * 64)
    write_parts(url, levels(), PartOptions(num_train=6, num_test=3))
    return url


def options(url: str, **changes: Any) -> CogOptions:
    facts = {"dataset": url, "features": ("own",), "solver": "lbfgs", "seeds": (22, 37), "num_trials": 2, "shots": (2,)}
    return CogOptions(**{**facts, **changes})


def test_every_level_is_measured_with_all_images_and_with_few(world: str) -> None:
    found = run_cog(options(world))
    top1 = [row for row in found.results if row.metric == "top1_accuracy"]
    assert [(row.dataset, row.split, row.seed) for row in top1] == [
        (dataset, split, seed) for dataset in ("cog-l1", "cog-l2") for split in ("", "shots/2") for seed in (22, 37)
    ]
    assert {(row.study, row.model, row.protocol) for row in top1} == {
        ("cog", "test", "linear lbfgs, best of 2, 2 at once, no l2")
    }
    assert top1[0].source.endswith("/probes/cog_l1_own_lbfgs")
    figure = own_figures(found.results).models[0].figures["cog-l1", 0]
    assert figure.value == pytest.approx(sum(row.value for row in top1[:2]) / 2)
    # What is there is not measured again, and other images a concept join it.
    more = run_cog(options(world, shots=(2, 1), only=("L2",)))
    assert [row for row in more.results if row.split != "shots/1"] == [
        row for row in found.results if row.dataset == "cog-l2"
    ]


def test_models_of_one_encoder_have_the_names_of_their_features(world: str) -> None:
    found = run_cog(options(world, features=("own", "better"), only=("L1",), shots=(), baseline="better"))
    assert {row.model for row in found.results} == {"own", "better"}
    assert found.baseline == "better"
    figures = own_figures(found.results, baseline=found.baseline)
    own = next(model for model in figures.models if model.name == "own")
    assert figures.baseline.name == "better"
    assert (figures.difference(own, ("cog-l1", 0)) or 0) < 0
    with pytest.raises(OptionError, match=r"--baseline is one of the models that were measured \(test\), found 'x'"):
        run_cog(options(world, only=("L1",), shots=(), baseline="x"))


def test_a_dataset_a_level_has_splits_of_its_own(world: str) -> None:
    # The world has one split: trained and tested on the same images, which is refused by key.
    with pytest.raises(DatasetError):
        run_cog(options(world, dataset=None, levels=(f"IN-1K={world}",), test_split="train"))


def test_levels_are_named_as_the_overlay_has_them(world: str) -> None:
    with pytest.raises(OptionError, match="has no level 'L3': it has L1, L2"):
        run_cog(options(world, only=("L3",)))
    with pytest.raises(DatasetError, match="has no overlay 'none'"):
        run_cog(options(world, overlay="none"))


def test_a_concept_in_the_test_part_alone_is_refused(world: str) -> None:
    table = query(
        "select key, level, part from overlays.cog_levels where wnid != $wnid or part = 'test'",
        [world],
        {"wnid": FAR[0]},
    )
    write_overlay(world, "halved", [table], made_by="me", settings={}, unique=("key", "level"))
    with pytest.raises(DatasetError, match=FAR[0]):
        run_cog(options(world, overlay="halved", only=("L2",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": None}, "a run needs levels"),
        ({"features": ()}, "a run needs different features, found \\[\\]"),
        ({"features": ("own", "own")}, "a run needs different features"),
        ({"levels": ("L1",)}, "--level is NAME=DATASET, such as L1=cog-l1, found 'L1'"),
        ({"levels": ("L1=a", "L1=b")}, "--level L1 comes twice"),
        ({"dataset": None, "levels": ("L1=a",), "only": ("L1",)}, "--only chooses among the levels of --dataset"),
        ({"whole": False, "shots": ()}, "nothing is measured"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        options("in21k", **changes)
