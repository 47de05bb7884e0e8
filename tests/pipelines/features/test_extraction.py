"""Features of real networks: against torch and Pillow by hand, on two processes, killed, resumed, of bad images."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from shardtools.cli.features import command
from shardtools.dataset import open_dataset
from shardtools.errors import OptionError, PlanMismatchError, RunError, SourceError
from shardtools.execution import Ended, Notice, Planned, Ready, TaskDone
from shardtools.features import FeatureOptions, open_features
from shardtools.features.neighbors import search_exact
from shardtools.pipelines.batches.planned import share
from shardtools.pipelines.encoders.networks import make_encoder
from shardtools.pipelines.encoders.trained import load_feature_encoder, weights_digest
from shardtools.pipelines.features.search import image_features
from shardtools.pipelines.train.models import build_classifier
from tests.helpers.extraction_runs import Extraction
from tests.helpers.sql_datasets import fashion_images, make_dataset
from tests.helpers.training_runs import NUM_IMAGES, RECIPE, write_drawings

BATCH = 4
NUM_PARTS = NUM_IMAGES // (4 * BATCH)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("features")
    return write_drawings(folder / "dataset", folder / "source")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    save_file(make_encoder("resnet-micro").network.state_dict(), path)
    return str(path)


def options(dataset: str, out: Path, weights: str | None, **changes: Any) -> FeatureOptions:
    wanted = {"encoder": "resnet-micro", "weights": weights, "batch_size": BATCH, "device": "cpu", "threads": 1}
    return FeatureOptions(dataset=dataset, out=str(out / "features"), **{**wanted, **changes})


@pytest.fixture(scope="module")
def whole(dataset: str, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    """A run on one process that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    return Extraction(options(dataset, folder, weights), folder).done()


def pixels(content: bytes, size: int, resize: int, kind: Image.Resampling) -> np.ndarray:
    """Shorter side to `resize`, the centre of `size`, as torchvision's evaluation does with Pillow: 0 to 255."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = resize / min(image.size)
    image = image.resize((max(resize, int(image.width * scale)), max(resize, int(image.height * scale))), kind)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)), np.float32)


def test_features_are_the_networks_in_manifest_order(dataset: str, weights: str, whole: Extraction) -> None:
    store = open_features(dataset, str(whole.storage.url))
    assert store.shape == (NUM_IMAGES, 128) and store.dtype == np.float16
    rows = [row for table in open_dataset(dataset).tables() for row in table.to_pylist()]
    assert store.keys.to_pylist() == [row["key"] for row in rows]
    assert store.labels.tolist() == [row["class_index"] for row in rows]
    assert len(store.info.parts) == NUM_PARTS

    network = make_encoder("resnet-micro", weights=weights).eval()
    mean, std = np.array(store.info.encoder.mean), np.array(store.info.encoder.std)
    for number in (0, 37, NUM_IMAGES - 1):
        row = rows[number]
        content = open_dataset(dataset).storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
        image = (pixels(content, 32, 32, Image.Resampling.BILINEAR) / 255 - mean) / std
        with torch.inference_mode():
            expected = network(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None])[0].numpy()
        np.testing.assert_allclose(store.take([number])[0].astype(np.float32), expected, rtol=2e-2, atol=2e-2)


def test_a_protocol_cuts_and_resizes_and_leaves_the_scale_of_pixels(dataset: str, weights: str) -> None:
    asked = FeatureOptions(dataset=dataset, encoder="resnet-micro", weights=weights, protocol="trex")
    published, own = (load_feature_encoder(one).facts for one in (asked, replace(asked, protocol=None)))
    assert (published.crop, published.resize, published.image_size) == ("center", 224, 224)
    assert published.interpolation == "bicubic"
    assert (published.mean, published.std) == (own.mean, own.std)
    assert published.fingerprint != own.fingerprint


def test_an_image_file_finds_its_own_sample(dataset: str, whole: Extraction, tmp_path: Path) -> None:
    store = open_features(dataset, str(whole.storage.url))
    rows = [row for table in open_dataset(dataset).tables() for row in table.to_pylist()]
    files = []
    for number in (5, 60):
        row = rows[number]
        content = open_dataset(dataset).storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(content)
    found = image_features(store, [str(file) for file in files])
    np.testing.assert_allclose(found, store.take([5, 60]).astype(np.float32), rtol=2e-3, atol=1e-3)
    assert search_exact(store, found, 1).rows[:, 0].tolist() == [5, 60]
    with pytest.raises(SourceError, match="expected an image that decodes, found not an image"):
        image_features(store, [__file__])
    # Its middle is taken: resized as a whole it would be 160,000 pixels wide.
    thin = tmp_path / "thin.png"
    Image.new("RGB", (5000, 1)).save(thin)
    assert np.isfinite(image_features(store, [str(thin)])).all()
    with pytest.raises(PlanMismatchError, match=r"resnet-micro are of another encoder than .*: weights_sha256 is"):
        torch.manual_seed(5)
        save_file(make_encoder("resnet-micro").network.state_dict(), tmp_path / "other.safetensors")
        image_features(store, [str(files[0])], weights=str(tmp_path / "other.safetensors"))


def test_two_processes_write_what_one_writes(dataset: str, weights: str, whole: Extraction, tmp_path: Path) -> None:
    both = Extraction(options(dataset, tmp_path, weights), tmp_path, 2).done()
    assert both.of(Planned)[0].num_processes == 2
    assert len(both.of(Ready)) == len(both.of(Ended)) == 2
    assert [message.images for message in both.of(Ended)] == [NUM_IMAGES // 2] * 2
    assert both.files() == whole.files()


def test_a_killed_run_goes_on_on_another_number_of_processes(
    dataset: str, weights: str, whole: Extraction, tmp_path: Path
) -> None:
    wanted = options(dataset, tmp_path, weights)
    killed = Extraction(wanted, tmp_path)
    killed.wait_for(lambda run: len(run.of(TaskDone)) >= 2)
    killed.kill()
    assert "features.json" not in killed.files()

    resumed = Extraction(wanted, tmp_path, 2).done()
    assert resumed.of(Planned)[0].rows_to_make <= NUM_IMAGES - 2 * 4 * BATCH
    assert resumed.files() == whole.files()


def test_a_run_that_is_asked_to_stop_says_how_to_go_on(dataset: str, weights: str, tmp_path: Path) -> None:
    wanted = options(dataset, tmp_path, weights)
    stopped = Extraction(wanted, tmp_path)
    stopped.wait_for(lambda run: bool(run.of(TaskDone)))
    stopped.stop()
    assert stopped.end().of(Ended)[0].reason == "stopped"
    with pytest.raises(RunError, match=rf"stopped with \d of {NUM_PARTS} parts in .*run the same command again"):
        stopped.launch.finish(stopped=True)


def test_lite0_sees_fashion_as_its_own_preprocessing_says(tmp_path: Path) -> None:
    images = fashion_images(6)
    make_dataset(tmp_path / "dataset", images=images, num_shards=1)
    url = str(tmp_path / "dataset")
    Extraction(FeatureOptions(dataset=url, encoder="lite0", l2=True, device="cpu", batch_size=5), tmp_path).done()
    store = open_features(url, "lite0")
    assert store.shape == (5, 1280), "the fifth of six failed and has no image"
    assert store.info.encoder.weights_sha256 == weights_digest(
        load_feature_encoder(FeatureOptions(dataset=url, encoder="lite0")).network
    )
    assert np.linalg.norm(store.array().astype(np.float64), axis=1) == pytest.approx(1, abs=1e-3)

    network = load_feature_encoder(FeatureOptions(dataset=url, encoder="lite0"))
    batch = np.stack([(pixels(content, 224, 256, Image.Resampling.BICUBIC) - 127) / 128 for content in images])
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy()
    expected = expected[[0, 1, 2, 3, 5]]
    cosines = (store.array() * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.999


def test_the_encoder_of_a_training_run(dataset: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    model = build_classifier(RECIPE, 3, seed=1)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, run / "model.safetensors")
    wanted = FeatureOptions(dataset=dataset, encoder=str(run))
    with pytest.raises(OptionError, match=r"expected the folder of a training run with run\.json"):
        load_feature_encoder(wanted)
    (run / "run.json").write_text(json.dumps({"options": {"recipe": asdict(RECIPE)}}))
    encoder = load_feature_encoder(wanted)
    assert (encoder.facts.image_size, encoder.facts.resize, encoder.facts.name) == (16, 16, "resnet-micro")
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model.eval().features(images))


def test_timm_and_torchvision_say_how_they_are_evaluated(dataset: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = str(tmp_path / "weights.safetensors")
    save_file(make_encoder("timm:mobilenetv3_small_050").network.state_dict(), path)
    wanted = FeatureOptions(dataset=dataset, encoder="timm:mobilenetv3_small_050", weights=path)
    facts = load_feature_encoder(wanted).facts
    assert (facts.image_size, facts.resize, facts.interpolation) == (224, 256, "bicubic")
    larger = FeatureOptions(
        dataset=dataset, encoder="timm:mobilenetv3_small_050", weights=path, image_size=112, std=(1.0, 1.0, 0.5)
    )
    other = load_feature_encoder(larger).facts
    assert (other.image_size, other.resize, other.std) == (112, 128, (1.0, 1.0, 0.5))
    assert other.weights_sha256 == facts.weights_sha256 and other.fingerprint != facts.fingerprint
    with pytest.raises(OptionError, match="'resnet18' has no weights on this machine"):
        load_feature_encoder(FeatureOptions(dataset=dataset, encoder="resnet18"))
    with pytest.raises(OptionError, match="expected tensors as safetensors or a state dict"):
        load_feature_encoder(FeatureOptions(dataset=dataset, encoder="lite0", weights=__file__))


def test_a_bad_image_has_no_feature_and_a_reason(dataset: str, weights: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    write_drawings(broken, tmp_path / "source")
    row = next(open_dataset(broken).tables()).to_pylist()[5]
    with open(broken / row["shard"], "r+b") as shard:
        shard.seek(row["member_offset"])
        shard.write(bytes(row["num_bytes"]))
    run = Extraction(options(str(broken), tmp_path, weights), tmp_path).done()
    store = open_features(str(broken), str(tmp_path / "features"))
    assert len(store) == NUM_IMAGES - 1
    assert row["key"] not in store.keys.to_pylist()
    (skipped,) = store.info.skipped
    assert skipped.key == row["key"] and "shardtools verify" in skipped.reason
    assert row["key"] in run.of(Notice)[0].text


def test_another_encoder_does_not_go_on_with_these_parts(dataset: str, whole: Extraction, tmp_path: Path) -> None:
    torch.manual_seed(4)
    save_file(make_encoder("resnet-micro").network.state_dict(), tmp_path / "other.safetensors")
    wanted = FeatureOptions(**{**asdict(whole.wanted), "weights": str(tmp_path / "other.safetensors")})
    error = Extraction(wanted, tmp_path).error()
    assert error.kind == "PlanMismatchError"
    assert "holds features of another kind: weights_sha256 is " in error.text and "--replace" in error.text


def test_weights_that_give_nan_are_told_by_key(dataset: str, tmp_path: Path) -> None:
    state = make_encoder("resnet-micro").network.state_dict()
    state["stem.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    error = Extraction(options(dataset, tmp_path, str(tmp_path / "nan.safetensors")), tmp_path).error()
    assert error.kind == "DatasetError"
    assert "has nan in dimension" in error.text


def test_the_command_starts_processes_and_lists(dataset: str, weights: str, whole: Extraction) -> None:
    arguments = ["--encoder", "resnet-micro", "--weights", weights, "--batch-size", str(BATCH), "--device", "cpu"]
    run = CliRunner().invoke(
        command,
        [dataset, *arguments, "--name", "own", "--num-processes", "2", "--json"],
        catch_exceptions=False,
    )
    result = json.loads(run.stdout)
    assert (result["num_rows"], result["num_skipped"], result["images"]) == (NUM_IMAGES, 0, NUM_IMAGES)
    assert f"{NUM_IMAGES} images in {NUM_PARTS} shards on 2 processes" in run.stderr
    written = {path.name: path.read_bytes() for path in Path(dataset, "features", "own").glob("part-*.npy")}
    assert written == {name: content for name, content in whole.files().items() if name.endswith(".npy")}
    listed = CliRunner().invoke(command, [dataset], catch_exceptions=False).stdout.splitlines()
    assert listed[1].split()[:4] == ["own", str(NUM_IMAGES), "128", "resnet-micro"]
    assert open_features(dataset, "own").info.source == {"encoder": "resnet-micro", "weights": weights}


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_parts_are_shared_evenly_in_neighbors(world_size: int) -> None:
    parts = [0, 1, 4, 5, 6, 9]
    shares = [share(parts, rank, world_size) for rank in range(world_size)]
    assert [part for one in shares for part in one] == parts
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
