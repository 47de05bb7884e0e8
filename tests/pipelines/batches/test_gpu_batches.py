"""Decoding with torch on a device: the loader's order, labels and state, and how far its pixels are from the CPU's.

No GPU is at hand where these tests run, so the device is "cpu": torchvision decodes in the place of nvJPEG.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.dataset.opening import list_parts
from shardtools.errors import OptionError
from shardtools.loader import CenterCropOptions, CropOptions, LoaderOptions, ResizeOptions, dino_multi_crop
from shardtools.pipelines.batches import gpu_batches
from shardtools.pipelines.batches.gpu_batches import DeviceBatch, GpuBatches, compare
from shardtools.pipelines.batches.gpu_decoder import _plain_frame
from shardtools.pipelines.batches.torch_batches import TorchBatches
from shardtools.sample import Sample
from shardtools.storage import open_storage
from tests.helpers import jpeg_files

NUM_PHOTOS = 24
SIZES = ((160, 120), (120, 160), (200, 140), (90, 90))


def write(folder: Path, images: dict[str, tuple[bytes, str, int, int]]) -> str:
    """A dataset of one tar, whose labels count."""
    storage = open_storage(folder)
    facts: dict[str, Any] = {"kind": "real", "plan_id": "plan-1", "scale": 1}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=1, num_rows=len(images)))
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for number, (key, (content, image_format, width, height)) in enumerate(images.items()):
            fields: dict[str, Any] = {"image_format": image_format, "width": width, "height": height}
            writer.add(Sample(key=key, image_bytes=content, class_index=number, wnid="n00000001", **fields))
        writer.commit()
    commit_dataset(storage, part_paths=list_parts(storage), **facts)
    return str(folder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    images = {}
    for number in range(NUM_PHOTOS):
        width, height = SIZES[number % len(SIZES)]
        content = jpeg_files.save(jpeg_files.photo(width, height, number), quality=90, subsampling=number % 3)
        images[f"k{number:02d}"] = (content, "jpg", width, height)
    return write(tmp_path_factory.mktemp("photos") / "out", images)


def options(dataset: str, **rest: Any) -> LoaderOptions:
    return LoaderOptions(**{"datasets": (dataset,), "crop": CropOptions(size=64), "batch_size": 8, **rest})


@contextmanager
def on_cpu(wanted: LoaderOptions) -> Iterator[GpuBatches]:
    batches = GpuBatches(wanted, device="cpu", distributed=False)
    with batches.loader:
        yield batches


def delivered(wanted: LoaderOptions, epoch: int = 0) -> list[DeviceBatch]:
    with on_cpu(wanted) as batches:
        return list(batches.batches(epoch))


@pytest.mark.parametrize(
    ("crop", "max_difference", "mean_difference"),
    [
        # A level where Pillow's whole-number weights round the other way, in either pass.
        (CropOptions(size=64), 2, 0.02),
        (CropOptions(size=64, interpolation="bicubic"), 2, 0.02),
        (CenterCropOptions(size=48, resize=56), 2, 0.02),
        (ResizeOptions(height=40, width=70), 2, 0.02),
        # Colours are computed in other types than Pillow's, and Pillow's blur is made of boxes.
        (dino_multi_crop(), 40, 0.8),
    ],
    ids=["bilinear", "bicubic", "centre", "resize", "dino"],
)
def test_pixels_are_within_the_stated_distance(
    photos: str, crop: Any, max_difference: int, mean_difference: float
) -> None:
    found = compare(options(photos, crop=crop, num_threads=2), device="cpu", num_batches=2)
    assert found.num_images == 16
    assert found.max_difference <= max_difference
    assert found.mean_difference <= mean_difference


def test_order_labels_and_shapes_are_the_loaders(photos: str) -> None:
    wanted = options(photos, batch_size=10)
    expected = list(TorchBatches(wanted, distributed=False).loader.epoch(3))
    found = delivered(wanted, epoch=3)
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    assert [batch.labels.tolist() for batch in found] == [batch.labels.tolist() for batch in expected]
    assert [(batch.epoch, batch.step, batch.repeated) for batch in found] == [
        (batch.epoch, batch.step, batch.repeated) for batch in expected
    ]
    images = found[0].images
    assert isinstance(images, torch.Tensor)
    assert (images.shape, images.dtype) == ((10, 3, 64, 64), torch.uint8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    several = delivered(options(photos, crop=dino_multi_crop()))[0].images
    assert [tuple(views.shape) for views in several] == [(8, 1, 3, 224, 224), (8, 8, 3, 96, 96)]


def test_a_state_goes_from_one_decoder_to_the_other(photos: str) -> None:
    wanted = options(photos)
    whole = [key for batch in delivered(wanted) for key in batch.keys]
    before = TorchBatches(wanted, distributed=False)
    epoch = before.epoch(0)
    next(epoch)
    state = json.loads(json.dumps(before.state_dict()))
    epoch.close()  # type: ignore[attr-defined]
    with on_cpu(replace(wanted, batch_size=16)) as batches:
        batches.load_state_dict(state)
        assert [key for batch in batches.batches(0) for key in batch.keys] == whole[8:]
        assert [len(labels) for _, labels in batches] == [16, 16]


def test_what_the_device_does_not_decode_is_the_cpus_to_the_last_bit(tmp_path: Path) -> None:
    image = jpeg_files.photo(40, 30)
    images = {**jpeg_files.pillow_kinds(40, 30), **jpeg_files.odd_kinds(40, 30)}
    files = {name.replace(" ", "-"): (content, "jpg", 40, 30) for name, content in images.items()}
    files["png"] = (jpeg_files.save(image, "PNG"), "png", 40, 30)
    cut = jpeg_files.save(image)
    files["cut"] = (cut[: len(cut) // 2], "jpg", 40, 30)
    files["no-image"] = (b"nothing at all", "jpg", 40, 30)
    files["other-size"] = (jpeg_files.save(jpeg_files.photo(20, 20)), "jpg", 40, 30)
    dataset = write(tmp_path / "out", files)
    wanted = options(dataset, crop=ResizeOptions(height=24, width=32), batch_size=len(files))
    [found] = delivered(wanted)
    with TorchBatches(wanted, distributed=False).loader as loader:
        [expected] = loader.epoch(0)
    assert found.keys == expected.keys
    assert found.replacements == expected.replacements
    assert sorted(replacement.key for replacement in found.replacements) == ["cut", "no-image", "other-size"]
    assert isinstance(found.images, torch.Tensor)
    distance = np.abs(found.images.permute(0, 2, 3, 1).numpy().astype(int) - expected.images).max(axis=(1, 2, 3))
    exact = {key for key, largest in zip(found.keys, distance, strict=True) if largest == 0}
    assert {"png", "cmyk", "rgb", "four-components"} <= exact
    # Grey and YCbCr in whatever sampling come from the device, and differ by what its resize does.
    assert distance.max() <= 2


def test_plain_jpegs_are_told_by_their_header() -> None:
    kinds = jpeg_files.pillow_kinds(33, 17)
    plain = {name for name, content in kinds.items() if _plain_frame(content) == (33, 17)}
    assert kinds.keys() - plain == {"rgb", "cmyk"}
    good = kinds["420"]
    for length in range(len(good)):
        assert _plain_frame(good[:length]) is None
    assert _plain_frame(good.replace(b"\xff\xc0", b"\xff\xc3")) is None
    assert _plain_frame(memoryview(good)) == (33, 17)


def test_what_cannot_be_is_one_clear_line(photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="expected a CUDA device, found a machine"):
        GpuBatches(options(photos))
    with pytest.raises(OptionError, match="expected cuda or cpu, found 'meta'"):
        GpuBatches(options(photos), device="meta")
    with pytest.raises(OptionError, match="allow_scaled and tolerate_damage are the CPU decoder's"):
        GpuBatches(options(photos, allow_scaled=True), device="cpu")
    with pytest.raises(OptionError, match="a device resizes with bilinear or bicubic, found 'area'"):
        GpuBatches(options(photos, crop=ResizeOptions(height=8, width=8, interpolation="area")), device="cpu")
    result = CliRunner().invoke(gpu_batches.main, [photos])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_the_command_prints_the_distance(photos: str) -> None:
    result = CliRunner().invoke(
        gpu_batches.main, [photos, "--device", "cpu", "--num-batches", "2", "--batch-size", "4"]
    )
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert (found["num_images"], found["device"]) == (8, "cpu")
    assert found["max_difference"] <= 2
    assert found["images_per_second"] > 0


def test_facts_name_the_decoder(photos: str) -> None:
    with on_cpu(options(photos)) as batches:
        facts = batches.loader.facts()
    assert facts["decoder"] == "torchvision"
    assert str(facts["library"]).startswith("torch ")
