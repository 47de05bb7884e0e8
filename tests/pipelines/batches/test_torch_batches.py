"""The torch adapter, and pixels against torchvision's."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from shardtools.errors import OptionError
from shardtools.loader import (
    CenterCropOptions,
    Draws,
    Loader,
    ViewParameters,
    dino_multi_crop,
    multi_crop_parameters,
)
from shardtools.pipelines.batches.torch_batches import TorchBatches, allocate, of_this_process, to_tensors
from tests.helpers.jpeg_files import photo, save
from tests.helpers.loader_datasets import NUM_PHOTOS, Delivered, epoch, options, photos, put, tar, whole

__all__ = ["tar", "whole"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = photos(tmp_path_factory.mktemp("photos") / "train")
    # Sizes at which roundings go either way.
    for number, size in enumerate([(400, 300), (301, 402), (225, 255), (97, 640), (24, 24)]):
        put(folder, NUM_PHOTOS + number, save(photo(*size, number), quality=92))
    return folder


# ---- tensors ----


def test_tensors_are_the_decoders_memory(tar: str) -> None:
    with Loader(options(tar, allocator=allocate)) as loader:
        for batch in loader.epoch(0):
            images, labels = to_tensors(batch)
            assert isinstance(images, torch.Tensor)
            assert isinstance(batch.images, np.ndarray)
            assert images.data_ptr() == batch.images.ctypes.data
            assert labels.data_ptr() == batch.labels.ctypes.data
            assert images.shape == (4, 3, 24, 24)
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert images.stride() == torch.empty(4, 3, 24, 24).to(memory_format=torch.channels_last).stride()
            assert labels.dtype == torch.int64
            assert np.array_equal(images.numpy().transpose(0, 2, 3, 1), batch.images)
            assert images.is_pinned() == torch.cuda.is_available()


def test_several_crops_are_a_tensor_a_kind(tar: str) -> None:
    batches = TorchBatches(options(tar, crop=dino_multi_crop()))
    images, labels = next(iter(batches))
    batches.close()
    assert [tuple(kind.shape) for kind in images] == [(4, 1, 3, 224, 224), (4, 8, 3, 96, 96)]
    assert all(kind.flatten(0, 1).is_contiguous(memory_format=torch.channels_last) for kind in images)
    assert len(labels) == 4


def test_the_next_batch_does_not_touch_the_last(tar: str, whole: Delivered) -> None:
    taken = [images for images, _ in TorchBatches(options(tar, prefetch=1))]
    assert np.array_equal(torch.cat(taken).numpy().transpose(0, 2, 3, 1), whole.images)


# ---- training loops ----


def test_a_data_loader_around_it_passes_batches_on(tar: str, whole: Delivered) -> None:
    batches = TorchBatches(options(tar))
    around = DataLoader(batches, batch_size=None)
    assert len(around) == len(batches) == 14
    seen = []
    for number in range(2):
        found = list(around)
        assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in found)
        seen.append(torch.cat([images for images, _ in found]).numpy().transpose(0, 2, 3, 1))
        assert batches.next_epoch == number + 1
    assert np.array_equal(seen[0], whole.images)
    assert np.array_equal(seen[1], epoch(options(tar), 1).images)
    batches.set_epoch(0)
    assert torch.cat([labels for _, labels in around]).tolist() == whole.labels


def test_worker_processes_are_refused(tar: str) -> None:
    around = DataLoader(TorchBatches(options(tar)), batch_size=None, num_workers=1)
    with pytest.raises(OptionError, match="num_workers=0"):
        next(iter(around))


def test_a_checkpoint_goes_on_with_other_ranks(tar: str, whole: Delivered) -> None:
    first = TorchBatches(options(tar))
    before = list(itertools.islice(first, 3))
    state = json.loads(json.dumps(first.state_dict()))
    first.close()

    labels = [label for _, batch in before for label in batch.tolist()]
    ranks = [TorchBatches(options(tar, rank=rank, world_size=2, batch_size=2, num_threads=2)) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(state)
        assert rank.next_epoch == 0
        assert rank.state_dict() == state
    for pair in zip(*ranks, strict=True):
        labels += [label for _, batch in pair for label in batch.tolist()]
    assert labels == whole.labels
    assert {rank.next_epoch for rank in ranks} == {1}
    assert {rank.state_dict()["epoch"] for rank in ranks} == {1}


def test_rank_and_world_size_come_from_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    own = options("folder", rank=1, world_size=3)
    assert of_this_process(own) == own
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    found = of_this_process(own)
    assert (found.rank, found.world_size) == (2, 4)


def test_two_processes_of_a_distributed_run_share_an_epoch(tar: str, tmp_path: Path) -> None:
    """What torchrun starts, without its agent and as forks of one process: torch is imported once and not thrice."""
    whole = epoch(options(tar, last="short", batch_size=8))
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    command = [sys.executable, "-m", "tests.helpers.torch_rank", tar, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]

    assert ranks[0]["state"] == ranks[1]["state"]
    assert ranks[0]["state"]["num_delivered"] == 32
    for step in range(4):
        both = [rank["batches"][step] for rank in ranks]
        images = np.concatenate([np.array(batch["images"], np.uint8) for batch in both]).transpose(0, 2, 3, 1)
        expected = whole.images[8 * step : 8 * step + 8]
        assert np.array_equal(images, expected)
        assert both[0]["labels"] + both[1]["labels"] == whole.labels[8 * step : 8 * step + 8]
        assert both[0]["total"] == both[1]["total"] == int(expected.sum(dtype=np.int64))


# ---- pixels ----


def open_rgb(source: Path, key: str) -> Image.Image:
    folder, name = key.split("_")
    return Image.open(source / folder / f"{name}.jpg").convert("RGB")


@pytest.mark.parametrize(("resize", "size"), [(256, 224), (36, 31), (24, 24)])
def test_a_center_crop_is_that_of_torchvision(tar: str, source: Path, resize: int, size: int) -> None:
    """To 1 of 255: Pillow's releases differ in which of the two directions they resize first."""
    reference = v2.Compose([v2.Resize(resize), v2.CenterCrop(size)])
    found = epoch(options(tar, crop=CenterCropOptions(resize=resize, size=size), last="short"))
    assert len(found.keys) == NUM_PHOTOS + 5
    num_different = 0
    for key, image in zip(found.keys, found.images, strict=True):
        expected = np.asarray(reference(open_rgb(source, key))).astype(int)
        assert np.abs(image - expected).max() <= 1, key
        num_different += int((image != expected).sum())
    assert num_different < 0.03 * found.images.size


def reference_view(picture: Image.Image, view: ViewParameters, index: int, size: int) -> np.ndarray:
    """One view of t-ReX's pipeline by Pillow and torchvision, given its random numbers."""
    left, top, width, height = view.rects[index].tolist()
    made = picture.crop((left, top, left + width, top + height))
    made = made.resize((size, height), Image.Resampling.BICUBIC).resize((size, size), Image.Resampling.BICUBIC)
    if view.flips[index]:
        made = functional.horizontal_flip(made)
    if view.jitters[index]:
        change = [
            functional.adjust_brightness,
            functional.adjust_contrast,
            functional.adjust_saturation,
            functional.adjust_hue,
        ]
        for number in view.jitter_orders[index].tolist():
            made = change[number](made, float(view.jitter_factors[index, number]))
    if view.grays[index]:
        made = functional.rgb_to_grayscale(made, num_output_channels=3)
    if view.blur_radii[index] > 0:
        made = made.filter(ImageFilter.GaussianBlur(float(view.blur_radii[index])))
    if view.solarizes[index]:
        made = ImageOps.solarize(made, 128)
    return np.asarray(made)


def test_the_views_of_t_rex_are_those_of_torchvision(tar: str, source: Path) -> None:
    crop = dino_multi_crop()
    smaller = replace(
        crop, global_crop=replace(crop.global_crop, size=56), local_crop=replace(crop.local_crop, size=24)
    )
    kinds = {"jitter": 0, "gray": 0, "blur": 0, "solarize": 0}
    with Loader(options(tar, crop=smaller, last="short")) as loader:
        for batch in loader.epoch(0):
            draws = Draws(seed=0, epoch=0, keys=loader.table.key_hash[batch.rows])
            widths, heights = loader.table.width[batch.rows], loader.table.height[batch.rows]
            views = multi_crop_parameters(draws, widths, heights, smaller)
            pictures = [open_rgb(source, key) for key in batch.keys]
            for number, view in enumerate(views):
                images = batch.images[0][:, 0] if number == 0 else batch.images[1][:, number - 1]
                for index, image in enumerate(images):
                    expected = reference_view(pictures[index], view, index, image.shape[0])
                    assert np.array_equal(image, expected), (batch.keys[index], number)
                kinds["jitter"] += int(view.jitters.sum())
                kinds["gray"] += int(view.grays.sum())
                kinds["blur"] += int((view.blur_radii > 0).sum())
                kinds["solarize"] += int(view.solarizes.sum())
    assert min(kinds.values()) > 5
