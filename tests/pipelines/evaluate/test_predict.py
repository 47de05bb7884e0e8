"""Predictions of real networks: by hand, on several ranks, killed and resumed, corrupted, of bad images and classes."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from shardtools.cli import cli
from shardtools.cli.predict import command
from shardtools.corruption import corrupt, sample_seed
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, RunError
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.predictions import PredictOptions, open_predictions
from shardtools.execution import Batch, Notice, Planned
from shardtools.loader import read_all
from shardtools.pipelines.batches.on_device import Normalizer
from shardtools.pipelines.encoders.local_models import weights_digest
from shardtools.sql import query
from shardtools.storage import open_storage
from tests.helpers.feature_datasets import make_labeled
from tests.helpers.model_files import WNIDS, run_folder
from tests.helpers.prediction_files import files
from tests.helpers.prediction_runs import Here
from tests.helpers.rank_runs import RankRun
from tests.helpers.training_runs import NUM_IMAGES

BATCH = 4
NAMES = (WNIDS[2], WNIDS[0], "n09999999")
"""Of the dataset's classes: two of the network's under other numbers, and one that it does not have."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(run_folder(tmp_path_factory.mktemp("model") / "micro")[0])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    labels = [None if number == 7 else number % 3 for number in range(NUM_IMAGES)]
    return make_labeled(tmp_path_factory.mktemp("data") / "drawings", labels, names=NAMES)


def options(
    dataset: str, out: Path | None, model: str, *, of_model: dict[str, Any] | None = None, **changes: Any
) -> Any:
    wanted = {"batch_size": BATCH, "device": "cpu", "threads": 1}
    place = None if out is None else str(out / "predictions")
    return PredictOptions(
        datasets=(dataset,), model=ModelOptions(model=model, **(of_model or {})), out=place, **{**wanted, **changes}
    )


@pytest.fixture(scope="module")
def whole(dataset: str, model: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A run on one rank that nothing happened to."""
    return Here(options(dataset, tmp_path_factory.mktemp("whole"), model)).done()


def url_of(run: Here) -> str:
    return run.launch.storages[0].url


def pixels_of(dataset: str, rows: list[int]) -> np.ndarray:
    """What a network of 16 pixels sees, uint8 [N, 16, 16, 3]."""
    from shardtools.loader import CenterCropOptions, Loader, LoaderOptions, OrderOptions

    wanted = LoaderOptions(
        datasets=(dataset,),
        crop=CenterCropOptions(size=16, resize=16),
        order=OrderOptions(shuffle="none"),
        batch_size=NUM_IMAGES,
    )
    with Loader(wanted) as loader:
        return next(loader.epoch(0)).images[rows]


def logits_of(network: torch.nn.Module, plan: Any, pixels: np.ndarray) -> np.ndarray:
    normalize = Normalizer(plan.model.mean, plan.model.std, torch.device("cpu"))
    with torch.inference_mode():
        return network(normalize.one(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2))).float().numpy()


def test_rows_are_the_networks_logits_with_labels_by_wnid(dataset: str, whole: Here, tmp_path: Path) -> None:
    found = open_predictions(dataset, url_of(whole))
    _, network = run_folder(tmp_path / "same")
    assert found.model.weights_sha256 == weights_digest(network) and found.model.classes == WNIDS
    assert found.keys.to_pylist() == read_all([dataset]).keys.to_pylist() and len(found) == NUM_IMAGES
    logits = logits_of(network, found.plan, pixels_of(dataset, list(range(NUM_IMAGES))))
    assert found.logits is not None and found.logits.dtype == np.float16
    np.testing.assert_allclose(found.logits.astype(np.float32), logits, atol=2e-2)
    np.testing.assert_allclose(found.top_logits[:, 0], logits.max(axis=1), rtol=1e-4, atol=1e-4)
    # Class 0 of the dataset is output 2, class 1 output 0, class 2 none; row 7 has no label at all.
    assert found.labels[:8].tolist() == [2, 0, -1, 2, 0, -1, 2, -1]
    assert found.dataset_labels[:8].tolist() == [0, 1, 2, 0, 1, 2, 0, -1]
    assert found.dataset_classes == dict(enumerate(NAMES))
    has_label = found.labels >= 0
    own = logits[has_label, found.labels[has_label]]
    assert (found.rank[has_label] == 1 + (logits[has_label] > own[:, None]).sum(axis=1)).all()
    assert (found.rank[~has_label] == 0).all() and np.isnan(found.margin[~has_label]).all()
    assert any("2 of 3 classes are evaluated" in message.text for message in whole.of(Notice))


def test_sql_reads_every_column(dataset: str, model: str) -> None:
    Here(options(dataset, None, model, name="predictions_inside")).done()
    rows = query(
        "select p.all_logits[1] as first, p.classes[1] as best, p.predicted_wnid as named from samples s "
        "join overlays.predictions_inside p using (dataset, key) order by s.key limit 3",
        (dataset,),
    ).to_pylist()
    found = open_predictions(dataset, "predictions_inside")
    assert {row["named"] for row in rows} <= {*WNIDS}
    order = np.argsort(found.keys.to_pylist())[:3]
    assert [row["best"] for row in rows] == found.classes[order, 0].tolist()
    assert found.logits is not None
    assert [row["first"] for row in rows] == found.logits[order, 0].astype(np.float32).tolist()


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_several_ranks_write_what_one_writes(
    dataset: str, model: str, whole: Here, tmp_path: Path, num_ranks: int
) -> None:
    run = Here(options(dataset, tmp_path, model), num_ranks).done()
    assert run.images == NUM_IMAGES and run.of(Planned)[0].num_processes == num_ranks
    assert run.files() == whole.files()


def test_a_killed_run_repeats_no_batch(dataset: str, model: str, tmp_path: Path) -> None:
    small = {"batch_size": 2, "name": "killed"}
    undisturbed = Here(options(dataset, tmp_path / "other", model, **small)).done()
    wanted = options(dataset, tmp_path, model, **small)
    killed = RankRun("shardtools.pipelines.evaluate.job", wanted, tmp_path)
    killed.wait_for(lambda run: len(run.of(Batch)) >= 5)
    killed.kill()
    told = sum(message.rows for message in killed.of(Batch))
    there = files(open_storage(tmp_path / "predictions"))
    assert 10 <= told < NUM_IMAGES and "overlay.json" not in there

    resumed = Here(wanted, 3).done()
    # What was told was durable; a batch may have become so between its file and its word.
    assert resumed.images in (NUM_IMAGES - told, NUM_IMAGES - told - 2)
    assert resumed.of(Planned)[0].rows_to_make == resumed.images
    assert resumed.files() == undisturbed.files()
    again = Here(wanted).done()
    assert again.images == 0 and again.files() == undisturbed.files()


def test_a_run_that_is_asked_to_stop_says_how_to_go_on(dataset: str, model: str, tmp_path: Path) -> None:
    stopped = Here(options(dataset, tmp_path, model), stop_at=lambda message: isinstance(message, Batch))
    assert 0 < stopped.images < NUM_IMAGES
    with pytest.raises(RunError, match=r"stopped with \d+ of 24 batches in .*: run the same command again, it resumes"):
        stopped.launch.finish(stopped=True)
    resumed = Here(options(dataset, tmp_path, model)).done()
    assert resumed.images == NUM_IMAGES - stopped.images


def test_every_variant_of_an_image_is_made_of_what_the_network_sees(dataset: str, model: str, tmp_path: Path) -> None:
    # 96 images x 5 variants in batches of 7: batches begin within an image, and the last one is padded.
    changes: dict[str, Any] = {"corruption": ("none", "gaussian_noise"), "severity": (1, 3, 5, 4), "seed": 3}
    wanted = options(dataset, tmp_path / "one", model, batch_size=7, **changes)
    run = Here(wanted).done()
    assert run.images == NUM_IMAGES * 5
    found = open_predictions(dataset, url_of(run))
    assert found.overlay.info.unique == ("key", "corruption", "severity")
    assert found.severity[:10].tolist() == [0, 1, 3, 4, 5] * 2
    assert found.corruption[:2].tolist() == ["none", "gaussian_noise"]
    _, network = run_folder(tmp_path / "same")
    [clean] = pixels_of(dataset, [11])
    key = found.keys[55].as_py()
    variants = [clean] + [
        corrupt(clean, "gaussian_noise", severity, seeds=sample_seed(3, key, "gaussian_noise", severity))
        for severity in (1, 3, 4, 5)
    ]
    expected = logits_of(network, found.plan, np.stack(variants))
    assert found.logits is not None
    np.testing.assert_allclose(found.logits[55:60].astype(np.float32), expected, atol=2e-2)
    # On more ranks and threads, and stopped on the way: the same bytes.
    other = options(dataset, tmp_path / "other", model, batch_size=7, **changes, threads=3)
    Here(other, stop_at=lambda message: isinstance(message, Batch))
    assert Here(other, 2).done().files() == run.files()


def test_an_image_that_cannot_be_read_is_a_row_with_a_reason(model: str, tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "broken", [0, 1] * 6, names=WNIDS)
    row = next(open_dataset(url).tables()).to_pylist()[5]
    with open(Path(url, row["shard"]), "r+b") as shard:
        shard.seek(row["member_offset"])
        shard.write(bytes(row["num_bytes"]))
    run = Here(options(url, tmp_path, model)).done()
    found = open_predictions(url, url_of(run))
    assert len(found) == 11 and row["key"] not in found.keys.to_pylist()
    assert found.logits is not None and found.logits.shape == (11, 3)
    [(key, reason)] = found.unread
    assert key == row["key"] and "shardtools verify" in reason
    assert sum(row["key"] in message.text for message in run.of(Notice)) == 1
    [result] = run.launch.finish(stopped=False)
    assert (result.num_rows, result.num_unread, result.num_labeled) == (12, 1, 11)


def test_another_model_or_preprocessing_is_refused_by_name(
    dataset: str, model: str, whole: Here, tmp_path: Path
) -> None:
    other = str(run_folder(tmp_path / "other", seed=1)[0])
    wanted = whole.launch._options
    for changed, line in (
        (
            replace(wanted, model=ModelOptions(model=other)),
            r"holds other predictions: .*model.weights_sha256 is .{8}\.\.\. there",
        ),
        (
            replace(wanted, model=ModelOptions(model=model, interpolation="bicubic")),
            "model.interpolation is 'bilinear' there",
        ),
        (replace(wanted, batch_size=5), "batch_size is 4 there, 5 here"),
        (replace(wanted, labels_by="none"), "labels_by is 'wnid' there, 'none' here.*--replace"),
    ):
        with pytest.raises(PlanMismatchError, match=line):
            Here(changed)
    # An unfinished run is refused likewise, and --replace goes on with one of the same plan.
    mine = options(dataset, tmp_path, model)
    begun = Here(mine, stop_at=lambda message: isinstance(message, Batch))
    with pytest.raises(PlanMismatchError, match=r"model\.weights_sha256"):
        Here(replace(mine, model=ModelOptions(model=other)))
    again = Here(replace(mine, replace=True)).done()
    assert again.images == NUM_IMAGES - begun.images and again.files() == whole.files()
    replaced = Here(replace(mine, model=ModelOptions(model=other), replace=True)).done()
    assert replaced.images == NUM_IMAGES and replaced.files() != whole.files()
    [result] = replaced.launch.finish(stopped=False)
    assert result.fingerprint == open_predictions(dataset, url_of(replaced)).model.fingerprint


@pytest.mark.parametrize(
    ("names", "labels_by", "line"),
    [
        (("cat", "dog"), "wnid", "found none of them: class 0 is cat here, class 0 is n03595614 in resnet-micro"),
        (
            (WNIDS[1], WNIDS[0]),
            "index",
            f"class 0 is {WNIDS[1]} here and {WNIDS[0]} in resnet-micro, so numbers are not",
        ),
        (("a", "b", "c", "d"), "index", "class 3 is no output of resnet-micro, which has 0 to 2"),
    ],
)
def test_classes_that_do_not_fit_are_one_line(
    model: str, tmp_path: Path, names: tuple[str, ...], labels_by: str, line: str
) -> None:
    url = make_labeled(tmp_path / "data", list(range(len(names))), names=names)
    with pytest.raises(PlanMismatchError, match=line):
        Here(options(url, tmp_path, model, labels_by=labels_by))
    assert not (tmp_path / "predictions" / "overlay.json").exists()


def test_several_datasets_are_one_run_and_one_that_does_not_fit_costs_nothing(model: str, tmp_path: Path) -> None:
    urls = tuple(
        make_labeled(tmp_path / name, [0, 1] * 4, names=names)
        for name, names in (("a", WNIDS), ("b", WNIDS[1:]), ("c", ("cat", "dog")))
    )
    wanted = replace(options(urls[0], None, model, name="predictions_micro"), datasets=urls[:2])
    run = Here(wanted)
    assert run.images == 16
    one, other = run.launch.finish(stopped=False)
    assert (one.dataset, one.num_rows, other.dataset, other.num_rows) == (urls[0], 8, urls[1], 8)
    found = open_predictions(urls[1], "predictions_micro")
    assert sorted(set(found.labels.tolist())) == [1, 2] and sorted(set(found.dataset_labels.tolist())) == [0, 1]
    with pytest.raises(PlanMismatchError, match="found none of them: class 0 is cat here"):
        Here(replace(wanted, datasets=urls, name="predictions_other"))
    assert not list(tmp_path.glob("*/overlays/predictions_other/**/batch-*"))


def test_numbers_are_outputs_where_somebody_says_so(model: str, tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "data", [0, 1, 2], names=("a", "b", "c"))
    run = Here(options(url, tmp_path, model, labels_by="index")).done()
    assert open_predictions(url, url_of(run)).labels.tolist() == [0, 1, 2]


def test_logits_that_are_no_numbers_name_the_first_key(dataset: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder, _ = run_folder(tmp_path / "nan")
    state = load_file(folder / "model.safetensors")
    name = next(name for name in state if name.endswith("stem.weight"))
    state[name][0, 0, 0, 0] = float("nan")
    save_file(state, folder / "model.safetensors")
    first = read_all([dataset]).keys[0].as_py()
    with pytest.raises(DatasetError, match=rf"the logits of '{first}' have nan at output 0, expected finite numbers"):
        Here(options(dataset, tmp_path, str(folder)))


def test_squares_that_were_cut_out_are_not_cut_again(model: str, tmp_path: Path) -> None:
    from tests.helpers.sql_datasets import fashion_images, make_dataset

    make_dataset(tmp_path / "fashion", images=fashion_images(6), num_shards=1)
    url = str(tmp_path / "fashion")
    with pytest.raises(OptionError, match="5 images of 5 are 28 x 28 pixels, so they were cut out already"):
        Here(options(url, tmp_path, model, of_model={"resize": 32}))
    taken = Here(options(url, tmp_path / "b", model, of_model={"resize": 32, "force_resize": True})).done()
    assert open_predictions(url, url_of(taken)).model.resize == 32


def test_the_command_starts_processes_and_says_what_was_made(
    dataset: str, model: str, whole: Here, tmp_path: Path
) -> None:
    arguments = [
        model,
        dataset,
        "--batch-size",
        str(BATCH),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--num-processes",
        "2",
    ]
    out = ["--out", str(tmp_path / "out")]
    run = CliRunner().invoke(command, [*arguments, *out], catch_exceptions=False)
    lines = run.stdout.splitlines()
    assert lines[0].startswith(f"{NUM_IMAGES} images in ")
    found = open_predictions(dataset, str(tmp_path / "out"))
    num_right, num_labeled = int((found.rank == 1).sum()), int((found.rank > 0).sum())
    assert lines[1].startswith(f"{NUM_IMAGES} predictions of resnet-micro in {tmp_path / 'out'}: top-1 ")
    assert f"top-1 {100 * num_right / num_labeled:.1f}% (" in lines[1] and lines[1].endswith(f") of {num_labeled}")
    # The proposed command runs as it is.
    proposed = CliRunner().invoke(cli, shlex.split(lines[3])[1:], catch_exceptions=False)
    assert float(proposed.stdout.split()[2]) == pytest.approx(num_right / num_labeled, abs=1e-3)
    assert "all logits are kept, 576 bytes as float16" in run.stderr
    again = CliRunner().invoke(command, [*arguments, *out, "--json"], catch_exceptions=False)
    [result] = json.loads(again.stdout)
    assert result["images"] == 0 and result["num_top1"] == num_right
    parts = {name: content for name, content in whole.files().items() if name.startswith("part-")}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in parts} == parts
