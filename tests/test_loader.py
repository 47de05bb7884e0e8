"""The loader from datasets to pixels: one order and one look for any layout, rank, thread and restart."""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
import threading
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.errors import OptionError, PlanMismatchError, ShardError, StorageError
from shardtools.loader import (
    CenterCropOptions,
    CropOptions,
    Draws,
    Loader,
    LoaderOptions,
    LoaderState,
    MixOptions,
    MultiCropOptions,
    OrderOptions,
    ResizeOptions,
    dino_multi_crop,
    random_resized_crop,
)
from shardtools.loader.reading_options import ReadOptions
from tests.jpeg_files import photo, pillow_kinds, save
from tests.loader_datasets import (
    LAYOUTS,
    NUM_CLASSES,
    NUM_PHOTOS,
    Delivered,
    deliver,
    epoch,
    options,
    photos,
    put,
    write,
)

TINY_MULTI_CROP = MultiCropOptions(
    num_global=1, num_local=3, global_crop=CropOptions(size=24), local_crop=CropOptions(size=12)
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "train")


@pytest.fixture(scope="module")
def tar(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(source, tmp_path_factory.mktemp("tar") / "dataset")


@pytest.fixture(scope="module")
def whole(tar: str) -> Delivered:
    """The first epoch, as everything else must deliver it."""
    return epoch(options(tar))


def same(found: Delivered, expected: Delivered) -> bool:
    return found.keys == expected.keys and np.array_equal(found.images, expected.images)


# ---- the same samples and pixels, whoever reads ----


def test_an_epoch_delivers_each_sample_once_and_names_what_fills_the_last_batch(tar: str) -> None:
    with Loader(options(tar)) as loader:
        batches = list(loader.epoch(0))
        assert len(loader) == len(batches) == 13
    keys = [key for batch in batches for key in batch.keys]
    repeated = batches[-1].repeated

    assert sorted(keys) == sorted([*set(keys), *repeated])
    assert len(set(keys)) == NUM_PHOTOS
    assert repeated == tuple(keys[: 13 * 4 - NUM_PHOTOS])
    assert not any(batch.repeated for batch in batches[:-1])
    assert [batch.step for batch in batches] == list(range(13))
    for batch in batches:
        assert isinstance(batch.images, np.ndarray)
        assert batch.images.shape == (4, 24, 24, 3)
        assert batch.images.dtype == np.uint8
        assert batch.labels.dtype == np.int64
        assert [f"class{label}" for label in batch.labels] == [key.split("_")[0] for key in batch.keys]
        assert batch.weights is None


def test_epochs_differ_and_come_again_alike(tar: str, whole: Delivered) -> None:
    second, other_seed = epoch(options(tar), 1), epoch(options(tar, order=OrderOptions(seed=1)))

    assert sorted(set(second.keys)) == sorted(set(whole.keys))
    assert len({tuple(found.keys) for found in (whole, second, other_seed)}) == 3
    assert same(epoch(options(tar), 1), second)
    # A sample looks different in each epoch and for each seed.
    for other in (second, other_seed):
        places = [other.keys.index(key) for key in whole.keys]
        assert (other.images[places] != whole.images).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("num_threads", [1, 2, 4])
@pytest.mark.parametrize("prefetch", [1, 5])
def test_threads_change_nothing(tar: str, whole: Delivered, num_threads: int, prefetch: int) -> None:
    assert same(epoch(options(tar, num_threads=num_threads, prefetch=prefetch)), whole)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "tar"])
def test_the_layout_changes_nothing(source: Path, tmp_path: Path, whole: Delivered, layout: str) -> None:
    found = epoch(options(write(source, tmp_path / "dataset", **{"layout": layout, **LAYOUTS[layout]})))

    assert same(found, whole)
    assert found.labels == whole.labels


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
from tests.loader_datasets import epoch, options
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


@pytest.mark.parametrize("shuffle", ["global", "blocks", "none"])
@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_share_what_one_would_have(tar: str, shuffle: str, world_size: int) -> None:
    order = OrderOptions(shuffle=shuffle, block_size=20, piece_size=7 if shuffle == "blocks" else None)
    alone = epoch(options(tar, order=order, batch_size=24))
    with Loader(options(tar)) as first:
        ranks = [
            list(
                Loader(
                    options(tar, order=order, batch_size=24 // world_size, rank=rank, world_size=world_size),
                    first.table,
                ).epoch(0)
            )
            for rank in range(world_size)
        ]
    together = deliver(itertools.chain.from_iterable(zip(*ranks, strict=True)))
    assert same(together, alone)


# ---- a ledger over stops, restarts and other numbers of ranks ----


def run_world(
    table_of: Loader, state: LoaderState | None, num_steps: int, **changes: Any
) -> tuple[list[tuple[str, bytes]], list[str], LoaderState]:
    """Some steps of all ranks: what they delivered (repeats left out), what they repeated, and their common state."""
    delivered, repeated, states = [], [], []
    for rank in range(changes["world_size"]):
        with Loader(replace(table_of.options, rank=rank, **changes), table_of.table) as loader:
            if state is not None:
                loader.load_state(LoaderState.from_json(state.to_json()))
            for batch in itertools.islice(loader.epoch(loader.state().epoch), num_steps):
                once = len(batch.keys) - len(batch.repeated)
                delivered += [
                    (key, image.tobytes()) for key, image in zip(batch.keys[:once], batch.images[:once], strict=True)
                ]
                repeated += batch.repeated
            states.append(loader.state().to_json())
    assert len(set(states)) == 1, "all ranks have the same state after the same step"
    return delivered, repeated, LoaderState.from_json(states[0])


@given(
    stops=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 8]), st.integers(1, 5), st.integers(1, 4)), max_size=5
    ),
    last=st.sampled_from(["pad", "short", "drop"]),
    epoch_number=st.integers(0, 2),
)
@settings(max_examples=20)
def test_the_ledger_is_right_after_any_stops(
    tar: str, stops: list[tuple[int, int, int, int]], last: str, epoch_number: int
) -> None:
    with Loader(options(tar, last=last)) as first:
        everything = deliver(Loader(replace(first.options, last="short"), first.table).epoch(epoch_number))
        expected = {key: image.tobytes() for key, image in zip(everything.keys, everything.images, strict=True)}
        state = first._start_of(epoch_number)
        ledger: list[tuple[str, bytes]] = []
        for num_steps, world_size, batch_size, num_threads in [*stops, (99, 2, 3, 1)]:
            if state.is_finished or state.epoch != epoch_number:
                break
            changes = {"world_size": world_size, "batch_size": batch_size, "num_threads": num_threads, "prefetch": 1}
            delivered, repeated, state = run_world(first, state, num_steps, **changes)
            ledger += delivered
            assert set(repeated) <= expected.keys()

    counts = Counter(key for key, _ in ledger)
    assert counts.keys() <= expected.keys()
    assert set(counts.values()) == {1}
    assert NUM_PHOTOS - len(counts) < 40 if last == "drop" else len(counts) == NUM_PHOTOS
    assert all(expected[key] == image for key, image in ledger)


def test_a_resumed_run_delivers_what_the_other_would_have(tar: str, whole: Delivered) -> None:
    following = epoch(options(tar), 1)
    for stop in (0, 1, 6, 12, 13):
        with Loader(options(tar)) as loader:
            before = deliver(itertools.islice(loader.epoch(0), stop)) if stop else None
            state = loader.state().to_json()
        with Loader(options(tar, num_threads=2)) as loader:
            loader.load_state(LoaderState.from_json(state))
            after = deliver(loader.epochs(2))
        keys = [*(before.keys if before else []), *after.keys]
        assert keys == whole.keys + following.keys
        assert np.array_equal(after.images, np.concatenate((whole.images, following.images))[4 * stop :])


def test_epochs_go_on_behind_an_epoch_that_was_left_with_its_last_batch(tar: str) -> None:
    with Loader(options(tar)) as loader:
        for batch in loader.epoch(0):
            if batch.step == len(loader) - 1:
                break
        assert loader.state().is_finished
        assert {batch.epoch for batch in loader.epochs(2)} == {1}
        assert list(loader.epochs(2)) == []
        assert {batch.epoch for batch in loader.epoch(0)} == {0}


# ---- the state ----


def test_the_state_is_small_and_says_what_differs(tar: str, source: Path, tmp_path: Path) -> None:
    with Loader(options(tar, crop=dino_multi_crop())) as loader:
        next(iter(loader.epoch(0)))
        text = loader.state().to_json()
    assert len(text) < 2500
    assert json.loads(text)["num_delivered"] == 4
    state = LoaderState.from_json(text)
    fewer = write(photos(tmp_path / "fewer", 20), tmp_path / "few")
    refusals: list[tuple[LoaderOptions, str]] = [
        (options(fewer, crop=dino_multi_crop()), "the state is of another table: expected 50 rows with digest"),
        (options(tar, crop=dino_multi_crop(), order=OrderOptions(seed=3)), "a loader with seed 0, found 3"),
        (options(tar), "a loader with crop 'MultiCropOptions', found 'CropOptions'"),
        (options(tar, crop=dino_multi_crop((0.4, 1.0))), r"crop.global_crop.scale.0 0.25, found 0.4"),
        (options(tar, crop=dino_multi_crop(), last="drop"), "last 'pad', found 'drop'"),
        (options(tar, crop=dino_multi_crop(), mix=MixOptions(ratio=(1,))), "mix.ratio.0 None, found 1"),
        (options(tar, crop=dino_multi_crop(), order=OrderOptions(shuffle="none")), "order.shuffle 'global'"),
    ]
    for wanted, message in refusals:
        with Loader(wanted) as other, pytest.raises(PlanMismatchError, match=message) as caught:
            other.load_state(state)
        assert "\n" not in str(caught.value)
    with Loader(options(tar, crop=dino_multi_crop(), batch_size=9, world_size=3, rank=2, num_threads=3)) as other:
        other.load_state(state)
        assert other.state() == state


def test_facts_name_what_decides_on_pixels(tar: str) -> None:
    with Loader(options(tar)) as loader:
        facts = loader.facts()
        assert facts["decoder"] == "native"
        assert facts["interpolation"] == "bilinear"
        assert facts["table_digest"] == loader.table.digest
        assert facts["num_rows"] == NUM_PHOTOS
        assert json.loads(json.dumps(facts)) == facts


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


def test_an_image_too_thin_for_a_centre_crop_is_replaced(source: Path, tmp_path: Path) -> None:
    photos(tmp_path / "thin", 20)
    put(tmp_path / "thin", 20, save(photo(2, 600)))
    url = write(tmp_path / "thin", tmp_path / "dataset")
    with Loader(options(url, crop=CenterCropOptions(size=224, resize=256))) as loader:
        found = [bad for batch in loader.epoch(0) for bad in batch.replacements]
    assert {(bad.key, bad.reason) for bad in found} == {("class0_photo0020", "it does not decode (bad size)")}


@pytest.mark.parametrize("backend", ["native", "pillow"])
def test_sizes_that_the_manifest_lacks_are_read_from_headers(tar: str, whole: Delivered, backend: str) -> None:
    with Loader(options(tar, backend=backend)) as loader:
        loader.table.width = np.where(np.arange(NUM_PHOTOS) % 2, loader.table.width, 0)
        assert same(deliver(loader.epoch(0)), whole)


# ---- views and mixtures ----


def test_a_view_chooses_labels_and_weights(tar: str, whole: Delivered) -> None:
    view = """
        select key, class_index + $shift as class_index, width / 10.0 as weight from samples
        where class_index < 2
    """
    with Loader(options(tar, view=view, view_parameters={"shift": 10}, last="short")) as loader:
        found = list(loader.epoch(0))
        widths = {
            key: float(width) for key, width in zip(loader.table.keys.to_pylist(), loader.table.width, strict=True)
        }
    keys = [key for batch in found for key in batch.keys]

    assert sorted(keys) == sorted({key for key in whole.keys if key[:6] in ("class0", "class1")})
    for batch in found:
        assert [f"class{label - 10}" for label in batch.labels] == [key[:6] for key in batch.keys]
        assert batch.weights is not None
        assert batch.weights.dtype == np.float32
        assert batch.weights.tolist() == pytest.approx([widths[key] / 10 for key in batch.keys])
    # A sample looks the same in a view and in the whole dataset.
    images = dict(zip(whole.keys, whole.images, strict=True))
    assert all(
        np.array_equal(image, images[key])
        for batch in found
        for key, image in zip(batch.keys, batch.images, strict=True)
    )


def test_samples_are_drawn_by_weight(tar: str) -> None:
    view = "select key, case when class_index = 3 then 8 when class_index = 0 then 0 else 1 end as weight from samples"
    order = OrderOptions(shuffle="weighted", num_draws=400)
    with Loader(options(tar, view=view, order=order, batch_size=40)) as loader:
        found = deliver(loader.epoch(0))
    counts = Counter(found.labels)
    assert len(found.keys) == 400
    assert counts[0] == 0
    assert counts[3] > 6 * counts[1]
    # The same sample drawn again is cut out anew.
    key, number = Counter(found.keys).most_common(1)[0]
    places = [place for place, other in enumerate(found.keys) if other == key]
    assert number > 5
    assert len({found.images[place].tobytes() for place in places}) > number / 2


def test_two_datasets_are_mixed_half_and_half(tar: str, tmp_path: Path) -> None:
    other = write(photos(tmp_path / "other", 20, first=500), tmp_path / "dataset")
    with Loader(options(tar, other, mix=MixOptions(ratio=(1, 1)), last="short")) as loader:
        batches = [batch for number in range(2) for batch in loader.epoch(number)]
    for batch in batches:
        assert Counter(key.split("_photo")[1] >= "0500" for key in batch.keys) in (
            {True: 2, False: 2},
            {True: 1, False: 1},
            {True: 1, False: 2},
        )
    for number in range(2):
        counts = Counter(key for batch in batches if batch.epoch == number for key in batch.keys)
        real = {key: count for key, count in counts.items() if key.split("_photo")[1] < "0500"}
        assert len(real) == NUM_PHOTOS
        assert set(real.values()) == {1}
        assert set(counts.values()) <= {1, 2, 3}
    images = {
        key: {
            image.tobytes()
            for batch in batches
            if batch.epoch == 0
            for other_key, image in zip(batch.keys, batch.images, strict=True)
            if other_key == key
        }
        for key in counts
    }
    assert sum(len(found) > 1 for found in images.values()) > 10


# ---- bad samples ----


def harm(tmp_path: Path, source: Path, damage: dict[str, Any]) -> str:
    """A dataset of which the images of some keys were changed where they lie."""
    url = write(source, tmp_path / "harmed")
    with Loader(options(url)) as loader:
        table = loader.table
        keys = table.keys.to_pylist()
        for key, change in damage.items():
            row = keys.index(key)
            path = Path(url) / table.shards[int(table.shard[row])][1]
            content = bytearray(path.read_bytes())
            place = slice(int(table.member_offset[row]), int(table.member_offset[row] + table.num_bytes[row]))
            content[place] = change(bytes(content[place]))
            path.write_bytes(content)
    return url


def flip(content: bytes) -> bytes:
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


def cut(content: bytes) -> bytes:
    return content[:300] + bytes(len(content) - 300)


def blank(content: bytes) -> bytes:
    return bytes(len(content))


DAMAGE = {"class1_photo0001": flip, "class2_photo0018": cut, "class3_photo0007": blank}


def test_bad_samples_are_replaced_alike_for_all_and_reported(source: Path, tmp_path: Path) -> None:
    url = harm(tmp_path, source, DAMAGE)
    wanted = options(url, read=ReadOptions(verify="sha256"), last="short")
    with Loader(wanted) as loader:
        batches = list(loader.epoch(0))
    found = {bad.key: (bad.by_key, bad.reason) for batch in batches for bad in batch.replacements}

    assert found.keys() == DAMAGE.keys()
    for batch in batches:
        for bad in batch.replacements:
            assert batch.keys[bad.position] == bad.by_key
            assert bad.by_key[:6] == bad.key[:6], "of the same class"
            assert batch.labels[bad.position] == int(bad.key[5])
            assert bad.shard.startswith(str(url))
    assert all("expected sha256" in reason for _, reason in found.values())
    delivered = deliver(batches)
    assert delivered.images.any(axis=(1, 2, 3)).all()
    again = epoch(replace(wanted, num_threads=4, prefetch=5))
    assert same(again, delivered)
    in_parts = [list(Loader(replace(wanted, rank=rank, world_size=2, batch_size=2)).epoch(0)) for rank in range(2)]
    assert same(deliver(itertools.chain.from_iterable(zip(*in_parts, strict=True))), delivered)


def test_what_does_not_decode_is_replaced_also_without_digests(source: Path, tmp_path: Path) -> None:
    url = harm(tmp_path, source, DAMAGE)
    whole = epoch(options(write(source, tmp_path / "good"), last="short"))
    with Loader(options(url, last="short")) as loader:
        batches = list(loader.epoch(0))
    found = {bad.key: bad for batch in batches for bad in batch.replacements}
    delivered = deliver(batches)

    assert found.keys() == {"class2_photo0018", "class3_photo0007"}
    assert "it does not decode (" in found["class3_photo0007"].reason
    images = dict(zip(whole.keys, whole.images, strict=True))
    for key, asked, image in zip(delivered.keys, whole.keys, delivered.images, strict=True):
        assert key == (found[asked].by_key if asked in found else asked)
        assert asked == "class1_photo0001" or np.array_equal(image, images[key])


def test_replacements_that_are_bad_too_are_replaced(source: Path, tmp_path: Path) -> None:
    """All of a class but one."""
    bad = {f"class1_photo{number:04d}": blank for number in range(1, NUM_PHOTOS, NUM_CLASSES) if number != 25}
    url = harm(tmp_path, source, bad)
    reports = []
    for verify in ("none", "sha256"):
        wanted = options(url, read=ReadOptions(verify=verify, max_bad_share=1.0), last="short")
        with Loader(wanted) as loader:
            batches = list(loader.epoch(0))
        for batch in batches:
            assert not set(batch.keys) & bad.keys()
            assert batch.images.any(axis=(1, 2, 3)).all()
            for found in batch.replacements:
                chain = {one.key: one.by_key for one in batch.replacements if one.position == found.position}
                assert chain[found.key] == found.by_key
            ends = {found.position: found.by_key for found in batch.replacements}
            assert all(batch.keys[position] == key for position, key in ends.items())
        reports.append([(found.key, found.by_key) for batch in batches for found in batch.replacements])
    assert sorted(reports[0]) == sorted(reports[1])
    assert {key for key, _ in reports[0]} == bad.keys()


def test_too_many_bad_samples_are_no_accident(source: Path, tmp_path: Path) -> None:
    bad = {f"class{number % NUM_CLASSES}_photo{number:04d}": blank for number in range(17)}
    with (
        Loader(options(harm(tmp_path, source, bad))) as loader,
        pytest.raises(ShardError, match="17 samples of epoch 0 were bad, allowed are 16 of 50") as caught,
    ):
        list(loader.epoch(0))
    assert "\n" not in str(caught.value)
    assert no_threads_left()


@pytest.mark.parametrize(("verify", "reason"), [("none", "it does not decode"), ("sha256", "expected sha256")])
def test_a_bad_sample_is_raised_in_one_line(source: Path, tmp_path: Path, verify: str, reason: str) -> None:
    url = harm(tmp_path, source, {"class3_photo0007": blank})
    with Loader(options(url, read=ReadOptions(on_bad="raise", verify=verify), num_threads=2)) as loader:
        with pytest.raises(ShardError, match=reason) as caught:
            list(loader.epoch(0))
        state = loader.state()
        assert state.epoch == 0
    message = str(caught.value)
    assert "\n" not in message
    assert "'class3_photo0007'" in message
    assert "at byte" in message
    assert ".tar" in message
    assert no_threads_left()


# ---- threads and memory ----


def no_threads_left() -> bool:
    gc.collect()
    ours = [
        thread for thread in threading.enumerate() if thread.name.startswith(("shardtools-loader", "shardtools-decode"))
    ]
    for thread in ours:
        thread.join(5)
    return not any(thread.is_alive() for thread in ours)


def all_threads_ended(before: set[threading.Thread]) -> bool:
    gc.collect()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    return not any(thread.is_alive() for thread in left)


@pytest.mark.parametrize("taken", [1, 3])
def test_a_caller_may_leave_early(tar: str, whole: Delivered, taken: int) -> None:
    before = set(threading.enumerate())
    loader = Loader(options(tar, num_threads=2))
    batches = loader.epoch(0)
    first = deliver(itertools.islice(batches, taken))
    batches.close()  # type: ignore[attr-defined]
    assert no_threads_left()
    rest = deliver(loader.epoch(0))
    assert [*first.keys, *rest.keys] == whole.keys
    loader.close()
    assert all_threads_ended(before)


def test_an_epoch_that_was_given_up_says_so(tar: str, whole: Delivered) -> None:
    before = set(threading.enumerate())
    loader = Loader(options(tar))
    left = loader.epoch(0)
    next(left)
    state = loader.state()
    other = loader.epoch(1)
    next(other)
    with pytest.raises(StorageError, match="the loader was closed, or began another epoch"):
        next(left)
    assert next(other).epoch == 1
    loader.load_state(state)
    with pytest.raises(StorageError, match="before this one was over"):
        next(other)
    assert deliver(loader.epoch(0)).keys == whole.keys[4:]
    third = loader.epoch(2)
    next(third)
    loader.close()
    with pytest.raises(StorageError):
        next(third)
    # A closed loader begins anew.
    assert deliver(loader.epoch(0)).keys == whole.keys
    loader.close()
    assert all_threads_ended(before)


def test_a_loader_that_is_forgotten_leaves_no_thread(tar: str) -> None:
    before = set(threading.enumerate())
    for batch in Loader(options(tar, num_threads=2)).epoch(0):
        if batch.step == 2:
            break
    del batch
    assert all_threads_ended(before)


def test_errors_of_the_thread_reach_the_caller(tar: str) -> None:
    def fail(shape: tuple[int, ...]) -> np.ndarray:
        raise MemoryError("no more")

    with Loader(options(tar, allocator=fail)) as loader, pytest.raises(MemoryError, match="no more"):
        list(loader.epoch(0))
    for wrong in (lambda shape: np.empty(shape[1:], np.uint8), lambda shape: np.empty(shape, np.int8)):
        with Loader(options(tar, allocator=wrong)) as loader, pytest.raises(OptionError, match="the allocator gives"):
            list(loader.epoch(0))
    assert no_threads_left()


@pytest.mark.parametrize("prefetch", [1, 4])
def test_memory_is_bounded(tar: str, prefetch: int) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        nonlocal most
        array = np.empty(shape, np.uint8)
        alive.append(weakref.ref(array))
        most = max(most, sum(reference() is not None for reference in alive))
        return array

    with Loader(options(tar, allocator=allocate, prefetch=prefetch, batch_size=2)) as loader:
        for batch in loader.epoch(0):
            assert batch.images.base is not None
            if batch.step == 5:
                # The thread gets as far ahead as it may.
                for _ in range(500):
                    if len(alive) == 6 + prefetch + 1:
                        break
                    threading.Event().wait(0.01)
                assert len(alive) == 6 + prefetch + 1
            del batch
    assert prefetch + 1 <= most <= prefetch + 2


def test_a_script_that_ends_in_the_middle_ends(tar: str) -> None:
    script = f"""
from shardtools.loader import Loader
from tests.loader_datasets import options
batches = Loader(options({tar!r}, num_threads=2)).epoch(0)
print(len(next(batches).keys))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


# ---- options ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": "folder"}, "datasets is a tuple of folders"),
        ({"datasets": ()}, "datasets is a tuple of folders"),
        ({"split": "train", "view": "select 1"}, "a view chooses its own samples"),
        ({"batch_size": 0}, "batch_size is at least 1, found 0"),
        ({"world_size": 0}, "world_size is at least 1, found 0"),
        ({"num_threads": 0}, "num_threads is at least 1, found 0"),
        ({"prefetch": 0}, "prefetch is at least 1, found 0"),
        ({"rank": 2, "world_size": 2}, "rank is 0 to 1"),
        ({"last": "keep"}, "last is one of pad, drop, short, found 'keep'"),
        ({"backend": "gpu"}, "backend"),
        ({"num_threads": 5000}, "num_threads"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        LoaderOptions(**{"datasets": ("folder",), **changes})
    assert "\n" not in str(caught.value)


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


def test_a_split_is_read_alone(tar: str, tmp_path: Path) -> None:
    with Loader(options(tar, split="train", table_cache=str(tmp_path / "cache"))) as loader:
        first = deliver(loader.epoch(0))
    with Loader(options(tar, split="train", table_cache=str(tmp_path / "cache"))) as loader:
        assert same(deliver(loader.epoch(0)), first)
    with pytest.raises(OptionError, match="has no split 'val': it has train"):
        Loader(options(tar, split="val"))
