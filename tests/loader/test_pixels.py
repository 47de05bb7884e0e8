"""The pixels a loader delivers: one look for any format and decoder, and crops that are Pillow's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardtools.errors import OptionError
from shardtools.loader import (
    CenterCropOptions,
    CropOptions,
    Draws,
    Loader,
    MultiCropOptions,
    ResizeOptions,
    random_resized_crop,
)
from tests.helpers.jpeg_files import photo, pillow_kinds, save
from tests.helpers.loader_datasets import (
    NUM_PHOTOS,
    Delivered,
    deliver,
    epoch,
    options,
    put,
    same,
    source,
    tar,
    whole,
    write,
)

__all__ = ["source", "tar", "whole"]

TINY_MULTI_CROP = MultiCropOptions(
    num_global=1, num_local=3, global_crop=CropOptions(size=24), local_crop=CropOptions(size=12)
)


# ---- the same pixels, whatever they are read from and by ----


@pytest.mark.parametrize("backend", ["native", "pillow"])
def test_raw_pixels_look_like_the_jpegs_that_they_came_from(
    source: Path, tmp_path: Path, whole: Delivered, backend: str
) -> None:
    raw = write(source, tmp_path / "raw", "beton", write_mode="raw")
    with Loader(options(raw, backend=backend, num_threads=2)) as loader:
        assert loader.table.image_formats == ("raw",)
        assert same(deliver(loader.epoch(0)), whole)


def test_pixels_that_are_not_as_many_as_the_manifest_says_are_replaced(source: Path, tmp_path: Path) -> None:
    raw = write(source, tmp_path / "raw", "beton", write_mode="raw")
    with Loader(options(raw)) as loader:
        table = loader.table
        width = table.width.copy()
        width[3], width[7] = width[3] + 1, width[7] - 1
        table.width = width
        found = [bad for batch in loader.epoch(0) for bad in batch.replacements]
    reasons = {bad.row: bad.reason for bad in found}
    assert reasons == {3: "it does not decode (truncated)", 7: "it does not decode (corrupt)"}


def test_pillow_makes_the_same_pixels(tar: str, whole: Delivered) -> None:
    assert same(epoch(options(tar, backend="pillow", num_threads=2)), whole)


def test_without_the_native_core_one_line_says_so(tar: str, whole: Delivered) -> None:
    script = f"""
import hashlib, logging, sys
logging.basicConfig(format="%(message)s")
sys.modules["shardtools._native.core"] = None
from tests.helpers.loader_datasets import epoch, options
for number in (0, 0):
    found = epoch(options({tar!r}), number)
print(hashlib.sha256(found.images.tobytes()).hexdigest(), "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    import hashlib

    assert done.stdout == f"{hashlib.sha256(whole.images.tobytes()).hexdigest()} False\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("the native JPEG decoder is not installed")
    assert "install g++ and libjpeg62-turbo-dev" in line
    with pytest.raises(OptionError, match="backend: expected auto, native, pillow, found 'opencv'"):
        Loader(options(tar, backend="opencv"))


# ---- crops ----


def open_rgb(source: Path, key: str) -> Image.Image:
    folder, name = key.split("_")
    (path,) = (source / folder).glob(f"{name}.*")
    return Image.open(path).convert("RGB")


def resized_alike(image: np.ndarray, picture: Image.Image, resampling: Image.Resampling) -> bool:
    """Whether an image is Pillow's resize of a picture: to the bit in two steps, columns first; to 2 in one step, for
    which some releases of Pillow begin with the rows."""
    height, width = image.shape[:2]
    columns_first = picture.resize((width, picture.height), resampling).resize((width, height), resampling)
    assert np.array_equal(image, np.asarray(columns_first))
    in_one = np.asarray(picture.resize((width, height), resampling)).astype(int)
    return bool(np.abs(image - in_one).max() <= 2)


def test_a_random_crop_is_that_of_pillow(tar: str, source: Path) -> None:
    crop = CropOptions(size=20, scale=(0.3, 0.9), ratio=(0.5, 2.0), interpolation="bicubic", flip_probability=0.4)
    with Loader(options(tar, crop=crop, last="short")) as loader:
        for batch in loader.epoch(3):
            draws = Draws(seed=0, epoch=3, keys=loader.table.key_hash[batch.rows])
            widths, heights = loader.table.width[batch.rows], loader.table.height[batch.rows]
            rects = random_resized_crop(draws, widths, heights, scale=crop.scale, ratio=crop.ratio)
            flips = draws.uniform("flip", 1)[:, 0] < 0.4
            for key, image, rect, flip in zip(batch.keys, batch.images, rects.tolist(), flips.tolist(), strict=True):
                left, top, width, height = rect
                expected = open_rgb(source, key).crop((left, top, left + width, top + height))
                assert resized_alike(image[:, ::-1] if flip else image, expected, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("interpolation", ["area", "bilinear", "bicubic"])
def test_a_plain_resize_is_that_of_pillow(tar: str, source: Path, interpolation: str) -> None:
    filters = {"area": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    found = epoch(options(tar, crop=ResizeOptions(height=30, width=21, interpolation=interpolation)))
    for key, image in zip(found.keys, found.images, strict=True):
        assert resized_alike(image, open_rgb(source, key), filters[interpolation])


def test_several_crops_of_one_image(tar: str) -> None:
    with Loader(options(tar, crop=TINY_MULTI_CROP)) as loader:
        batches = list(loader.epoch(0))
    for batch in batches:
        assert [images.shape for images in batch.images] == [(4, 1, 24, 24, 3), (4, 3, 12, 12, 3)]
        assert all(images.flags.c_contiguous for images in batch.images)
        local = batch.images[1]
        assert (local[:, 0] != local[:, 1]).any(axis=(1, 2, 3)).all()
    only_local = replace(TINY_MULTI_CROP, num_global=0)
    with Loader(options(tar, crop=only_local)) as loader:
        alone = list(loader.epoch(0))
    for batch, other in zip(batches, alone, strict=True):
        assert len(other.images) == 1
        assert np.array_equal(other.images[0], batch.images[1])


def test_images_of_all_kinds_come_in_one_batch(tmp_path: Path) -> None:
    kinds = {**pillow_kinds(60, 44), "png": save(photo(60, 44), "PNG"), "grey png": save(photo(60, 44)[..., 0], "PNG")}
    kinds["png with alpha"] = save(Image.fromarray(photo(60, 44)).convert("RGBA"), "PNG")
    kinds["palette"] = save(Image.fromarray(photo(60, 44)).quantize(64), "PNG")
    kinds["webp"] = save(photo(60, 44), "WEBP", lossless=True)
    for number, (name, content) in enumerate(kinds.items()):
        put(tmp_path / "kinds", number, content, {"png": "png", "webp": "webp"}.get(name.split()[-1], "jpg"))
    for name in ("grey png", "png with alpha", "palette"):
        number = list(kinds).index(name)
        (place,) = (tmp_path / "kinds").glob(f"*/photo{number:04d}.*")
        place.rename(place.with_suffix(".png"))
    url = write(tmp_path / "kinds", tmp_path / "dataset")
    wanted = options(url, crop=ResizeOptions(height=44, width=60), batch_size=len(kinds))
    for backend in ("native", "pillow"):
        with Loader(replace(wanted, backend=backend)) as loader:
            (batch,) = loader.epoch(0)
        assert len(set(batch.keys)) == len(kinds)
        for key, image in zip(batch.keys, batch.images, strict=True):
            assert np.array_equal(image, np.asarray(open_rgb(tmp_path / "kinds", key))), (backend, key)


@pytest.mark.parametrize(("width", "height"), [(2, 600), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("backend", ["native", "pillow"])
def test_an_image_too_thin_to_be_resized_gives_its_middle(
    tmp_path: Path, width: int, height: int, backend: str
) -> None:
    image = photo(width, height)
    put(tmp_path / "thin", 20, save(image, quality=100, subsampling=0))
    url = write(tmp_path / "thin", tmp_path / "dataset")
    wanted = options(url, crop=CenterCropOptions(size=224, resize=256), batch_size=1, backend=backend)
    with Loader(wanted) as loader:
        (batch,) = loader.epoch(0)
    assert not batch.replacements
    # The same middle, cut out first: what lies further off than the filter reaches has no influence.
    short, is_wide = min(width, height), width > height
    left, top = ((width - 4 * short) // 2, 0) if is_wide else (0, (height - 4 * short) // 2)
    right, bottom = left + (4 * short if is_wide else short), top + (short if is_wide else 4 * short)
    part = open_rgb(tmp_path / "thin", "class0_photo0020").crop((left, top, right, bottom))
    whole = part.resize((256 * part.width // short, 256 * part.height // short), Image.Resampling.BILINEAR)
    left, top = round((whole.width - 224) / 2), round((whole.height - 224) / 2)
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224)))
    assert np.abs(batch.images[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("backend", ["native", "pillow"])
def test_sizes_that_the_manifest_lacks_are_read_from_headers(tar: str, whole: Delivered, backend: str) -> None:
    with Loader(options(tar, backend=backend)) as loader:
        loader.table.width = np.where(np.arange(NUM_PHOTOS) % 2, loader.table.width, 0)
        assert same(deliver(loader.epoch(0)), whole)


def test_wrong_crops_are_refused() -> None:
    bicubic = CropOptions(size=8, interpolation="bicubic")
    wrong = [
        (lambda: CenterCropOptions(size=300, resize=256), "a centre crop has 1 to 256 pixels"),
        (lambda: CenterCropOptions(interpolation="lanczos"), "interpolation is one of area, bilinear, bicubic"),
        (lambda: ResizeOptions(height=0, width=4), "at least 1 x 1 pixels, found 0 x 4"),
        (lambda: ResizeOptions(height=4, width=70_000), "at most 65535"),
        (lambda: options("folder", crop=replace(TINY_MULTI_CROP, local_crop=bicubic)), "all crops of an image"),
    ]
    for make, message in wrong:
        with pytest.raises(OptionError, match=message):
            make()
