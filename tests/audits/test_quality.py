"""The quality pass: hashes against Meta's program, measures against what was done to pictures, rows against stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from shardtools.audits.quality import (
    SCHEMA,
    SIDE,
    Measures,
    QualityOptions,
    is_complete,
    measure,
    measure_dataset,
)
from shardtools.dataset import open_dataset
from shardtools.decode import Decoder, whole_crops
from shardtools.errors import DatasetError, OptionError, PlanMismatchError
from shardtools.execution import Batch, Message, Planned, Progress
from shardtools.overlays import open_overlay, open_overlay_at
from shardtools.sql import find_query, query
from tests.helpers.jpeg_files import photo, save
from tests.helpers.loader_datasets import put, write
from tests.helpers.pictures import drawing, encode, huge_png
from tests.helpers.sql_datasets import fashion_images, make_dataset

# Made once by pdqhash 0.2.8, which wraps Meta's program: `pdqhash.compute(photo(WIDTH, HEIGHT, seed))`.
META_HASHES = {
    (320, 240, 1): ("0ff95baf0fffa5555a81e7ff9aaa70005aaa7000a555a55da155b155a45425d1", 100),
    (500, 400, 2): ("1510fdff0314fdff01008180bf5681a0bf768da09f463faf6b012dabeb01adab", 100),
    (256, 384, 3): ("ab875cf1a2a7414ff7fa540afcf89c8aa8bafdff5551818a54ba8c0a546084aa", 100),
}


def measured(*images: bytes) -> Measures:
    decoder = Decoder()
    sizes, _ = decoder.sizes(images)
    out = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    assert not decoder.decode_batch(images, whole_crops(sizes), None, out).any()
    return measure(out, sizes)


def scene(seed: int = 0, size: tuple[int, int] = (500, 375)) -> Image.Image:
    """A picture of large and small shapes, as photographs have them."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(photo(*size, seed))
    return Image.blend(coarse, fine, 0.15)


def bits(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one ^ other).sum())


# Hashes.


@pytest.mark.parametrize(("width", "height", "seed"), META_HASHES)
def test_hashes_are_near_those_of_metas_program(width: int, height: int, seed: int) -> None:
    text, quality = META_HASHES[width, height, seed]
    found = measured(save(photo(width, height, seed), "PNG")).hashes
    assert bits(found.hashes[0], np.frombuffer(bytes.fromhex(text), np.uint8)) <= 31
    assert abs(int(found.quality[0]) - quality) <= 10


@pytest.mark.parametrize("seed", range(4))
def test_copies_have_near_hashes(seed: int) -> None:
    picture = scene(seed)
    width, height = picture.size
    cut = picture.crop((2, 2, width - 2, height - 2))
    copies = {
        "quality 30": (encode(picture, "JPEG", quality=30), 31),
        "half the size": (encode(picture.resize((width // 2, height // 2)), "JPEG", quality=85), 31),
        "another shape": (encode(picture.resize((300, 300)), "PNG"), 31),
        "cut by two pixels a side": (encode(cut, "JPEG", quality=90), 31),
        "brighter": (encode(picture.point(lambda value: min(int(value * 1.15), 255)), "PNG"), 31),
        "grey": (encode(picture.convert("L"), "PNG"), 6),
    }
    found = measured(encode(picture, "PNG"), *(content for content, _ in copies.values())).hashes
    distances = {name: bits(found.hashes[0], found.hashes[number]) for number, name in enumerate(copies, start=1)}
    assert {name: distance for name, distance in distances.items() if distance > copies[name][1]} == {}


def test_other_pictures_have_other_hashes() -> None:
    found = measured(*(encode(scene(seed), "JPEG") for seed in range(8))).hashes.hashes
    assert min(bits(found[one], found[two]) for one in range(8) for two in range(one)) > 80


def test_a_mirrored_picture_has_the_mirrored_hash() -> None:
    picture = scene(5)
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    found = measured(encode(picture, "PNG"), encode(mirrored, "PNG"), encode(mirrored, "JPEG", quality=60)).hashes
    assert bits(found.mirrored[0], found.hashes[1]) <= 2
    assert bits(found.mirrored[0], found.hashes[2]) <= 12
    assert bits(found.hashes[0], found.hashes[1]) > 80


# Measures.


def test_light_contrast_and_color() -> None:
    half = Image.new("RGB", (64, 64), (255, 255, 255))
    half.paste((0, 0, 0), (0, 0, 64, 32))
    found = measured(
        *(encode(Image.new("RGB", (40, 30), color), "PNG") for color in ((0, 0, 0), (255, 255, 255), (255, 0, 0))),
        encode(half, "PNG"),
    )
    assert found.brightness.tolist() == pytest.approx([0, 1, 0.3, 0.5], abs=0.01)
    assert found.dark_share.tolist() == pytest.approx([1, 0, 0, 0.5], abs=0.02)
    assert found.bright_share.tolist() == pytest.approx([0, 1, 0, 0.5], abs=0.02)
    assert found.contrast.tolist() == pytest.approx([0, 0, 0, 0.5], abs=0.01)
    assert found.saturation.tolist() == pytest.approx([0, 0, 1, 0])
    assert found.color_spread.tolist() == pytest.approx([0, 0, 0, 0.5], abs=0.01)
    assert found.entropy[:3].tolist() == [0, 0, 0]
    assert 1 <= found.entropy[3] < 1.5
    assert found.hashes.quality[:3].tolist() == [0, 0, 0]


def test_blur_lowers_sharpness_and_contrast_does_not() -> None:
    picture = Image.fromarray(photo(500, 375, 1))
    blurred = [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 3, 6)]
    flatter = Image.blend(picture, Image.new("RGB", picture.size, (128, 128, 128)), 0.5)
    found = measured(*(encode(one, "PNG") for one in (picture, *blurred, flatter)))
    for values in (found.sharpness, found.sharpest):
        assert sorted(values[:4], reverse=True) == values[:4].tolist()
        assert values[3] < 0.25 * values[0]
        assert values[4] == pytest.approx(values[0], rel=0.1)
    before_softness = blurred[-1].copy()
    before_softness.paste(picture.crop((200, 150, 330, 250)), (200, 150))
    [sharpest] = measured(encode(before_softness, "PNG")).sharpest
    assert sharpest > 2 * found.sharpest[3]


def test_small_pictures_are_not_blurred_for_being_small() -> None:
    found = measured(*fashion_images(8))
    assert found.sharpest.min() > 0.5
    assert (measure(np.zeros((1, SIDE, SIDE, 3), np.uint8), np.array([[1, 60_000]])).sharpness == 0).all()


# Datasets.


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "train"
    for number in range(26):
        put(folder, number, encode(scene(number, (96, 72)), "JPEG", quality=90))
    put(folder, 26, encode(Image.new("RGB", (90, 90), (250, 250, 250)), "PNG"), "png")
    put(folder, 27, encode(drawing(3).convert("CMYK"), "JPEG"))
    put(folder, 28, save(photo(80, 60), quality=90)[:-400])
    put(folder, 29, huge_png(), "png")
    return folder


@pytest.fixture
def dataset(source: Path, tmp_path: Path) -> str:
    return write(source, tmp_path / "dataset")


def run(dataset: str, **options: object) -> int:
    return measure_dataset(QualityOptions(dataset=dataset, num_threads=2, batch_size=4, **options)).num_measured  # type: ignore[arg-type]


def test_every_image_has_one_row_and_bad_ones_a_reason(dataset: str) -> None:
    seen: list[Message] = []
    options = QualityOptions(dataset=dataset, num_threads=2, batch_size=4)
    result = measure_dataset(options, seen.append)
    overlay = open_overlay(dataset, "quality")
    rows = overlay.read()

    keys = query("select key from samples where status = 'ok' order by key", [dataset])["key"].to_pylist()
    assert sorted(rows["key"].to_pylist()) == keys
    assert rows.schema.equals(SCHEMA)
    assert is_complete(overlay.info)
    bad = [row for row in rows.to_pylist() if row["status"] != "ok"]
    assert result.num_failed == len(bad) > 0
    for row in bad:
        assert row["reason"]
        assert {row[name] for name in SCHEMA.names[3:]} == {None}
    assert seen[0] == Planned(rows=len(keys), rows_to_make=len(keys), num_tasks=1, num_processes=1)
    assert sum(message.rows for message in seen if isinstance(message, Batch)) == len(keys)


def test_a_stopped_run_goes_on_and_gives_the_same(dataset: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(dataset, out=str(whole))

    with pytest.raises(KeyboardInterrupt):
        measure_dataset(
            QualityOptions(dataset=dataset, num_threads=2, batch_size=4, rows_per_part=6), interrupted_after(14)
        )
    stopped = open_overlay(dataset, "quality")
    assert stopped.info.num_rows == 12
    assert not is_complete(stopped.info)

    expected = open_overlay_at(whole).read()
    assert run(dataset, rows_per_part=10) == len(expected) - 12
    assert open_overlay(dataset, "quality").read().equals(expected)
    assert run(dataset) == 0
    assert run(dataset, replace=True) == len(expected)
    with pytest.raises(OptionError, match="batch_size is at least 1, found 0"):
        QualityOptions(dataset=dataset, batch_size=0)


def test_pillow_measures_the_same(dataset: str, tmp_path: Path) -> None:
    run(dataset, out=str(tmp_path / "native"), allow_scaled=False)
    run(dataset, out=str(tmp_path / "pillow"), backend="pillow")
    native, pillow = (open_overlay_at(tmp_path / name).read() for name in ("native", "pillow"))
    good = [row["key"] for row in native.to_pylist() if row["status"] == "ok"]
    assert len(good) > 20
    same = {row["key"]: row for row in pillow.to_pylist()}
    assert [row for row in native.to_pylist() if row["key"] in good and same[row["key"]] != row] == []


def test_other_settings_are_not_mixed(dataset: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure_dataset(QualityOptions(dataset=dataset, rows_per_part=4, batch_size=4), interrupted_after(8))
    with pytest.raises(PlanMismatchError, match="was made otherwise: settings"):
        run(dataset, allow_scaled=False)


def interrupted_after(rows: int) -> Progress:
    """Ctrl-C while more rows than these are measured."""
    done = 0

    def hear(message: Message) -> None:
        nonlocal done
        done += message.rows if isinstance(message, Batch) else 0
        if done > rows:
            raise KeyboardInterrupt

    return hear


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", images=fashion_images(8), commit=False)
    with pytest.raises(DatasetError, match="is not finished"):
        run(str(tmp_path / "dataset"))


def test_the_query_names_what_is_odd(dataset: str) -> None:
    asked = find_query("image-quality")
    run(dataset)
    assert asked.check_overlays([dataset]) == ()
    rows = query(asked.sql, [dataset], asked.bind({})).to_pylist()
    problems = {row["key"]: set(row["problems"]) for row in rows}
    blank = [key for key, found in problems.items() if "blank" in found]
    assert len(blank) == 1
    assert {"blank", "bright", "low contrast", "low information"} <= problems[blank[0]]
    assert {row["mode"] for row in rows if "odd mode" in row["problems"]} <= {"CMYK", "RGBA", "L"}
    assert any("odd mode" in found for found in problems.values())
    only = query(asked.sql, [dataset], asked.bind({"problem": "blank"})).to_pylist()
    assert [row["key"] for row in only] == blank
    assert open_dataset(dataset).info is not None
