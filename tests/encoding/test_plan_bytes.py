"""`plan-bytes`: the cost model, the table, and what it recommends."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.corpus import CorpusError, find_photos, image_path, make_corpus, make_image, read_facts
from shardtools.cli.plan_bytes import command
from shardtools.dataset import ShardWriter, commit_dataset
from shardtools.encoding import BytesChoice, EncodingOptions, encode_sample, fit_decode_cost, plan_bytes
from shardtools.encoding.choosing import choose_sides
from shardtools.encoding.trial import psnr, try_encodings
from shardtools.errors import DatasetError, OptionError
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.sources.image.check import make_sample
from shardtools.storage import open_storage
from tests.helpers.pictures import drawing, encode, jpeg


def write_dataset(place: Path, samples: list[Sample]) -> str:
    """A finished dataset of these samples in one shard."""
    storage = open_storage(place)
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for sample in samples:
            writer.add(sample)
        writer.commit()
    commit_dataset(storage, kind="real", plan_id="0" * 16, scale=1, part_paths=[part_path("train", 0)])
    return str(place)


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Four real photos as the benchmarks read them."""
    found = []
    for number, path in enumerate(find_photos()[:4]):
        with Image.open(path) as image:
            found.append(make_image(image.convert("RGB"), number))
    return found


@pytest.fixture(scope="module")
def dataset(photos: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> str:
    samples = [
        make_sample(content, decode=False, extension="jpg", key=f"k{number}", class_index=0)
        for number, content in enumerate(photos)
    ]
    bad = make_sample(b"", decode=False, extension="jpg", key="bad")
    return write_dataset(tmp_path_factory.mktemp("photos") / "data set", [*samples, bad])


@pytest.fixture(scope="module")
def choice(dataset: str) -> BytesChoice:
    return plan_bytes(dataset, images_per_second=2500, cores=2, num_samples=3)


def test_the_table_falls_with_size_and_quality(choice: BytesChoice, photos: list[bytes]) -> None:
    assert (choice.num_images, choice.num_samples) == (4, 3)
    assert choice.as_is.dataset_bytes == sum(map(len, photos))
    assert choice.as_is.bytes_per_image == pytest.approx(choice.as_is.dataset_bytes / 4)
    by_cell = {(row.max_side, row.quality): row for row in choice.rows}
    assert [row.max_side for row in choice.rows[::5]] == [None, 448, 384, 320, 256, 224, 192, 160]
    assert list(by_cell) == sorted(by_cell, key=lambda cell: (-(cell[0] or 9999), -(cell[1] or 0)))
    for side in (448, 256, 160):
        rows = [by_cell[side, quality] for quality in (95, 90, 85, 80, 75)]
        assert [row.bytes_per_image for row in rows] == sorted((row.bytes_per_image for row in rows), reverse=True)
        assert [row.psnr for row in rows] == sorted((row.psnr or 0 for row in rows), reverse=True)
        assert all(20 < (row.psnr or 0) < 60 for row in rows)
    assert by_cell[160, 75].bytes_per_image < choice.as_is.bytes_per_image / 10
    assert by_cell[160, 75].images_per_second > 2 * choice.as_is.images_per_second
    assert by_cell[320, 90].pixels_per_image < by_cell[448, 90].pixels_per_image < choice.as_is.pixels_per_image


def test_the_cost_model_says_what_was_measured(choice: BytesChoice) -> None:
    assert min(choice.cost.seconds_per_kilobyte, choice.cost.seconds_per_pixel, choice.cost.seconds_per_image) >= 0
    assert choice.cost.num_timings == 3 * len(choice.rows)
    # A machine that others use too: loose, but a model that forgets bytes or pixels is off by far more.
    assert 0 < choice.cost_error < 0.4
    assert 0 < choice.cost.relative_error < 0.6
    assert choice.as_is.images_per_second == pytest.approx(
        2 / choice.cost.seconds(choice.as_is.bytes_per_image, choice.as_is.pixels_per_image), rel=0.6
    )


def test_the_largest_row_that_is_fast_enough_is_recommended(dataset: str) -> None:
    found = plan_bytes(dataset, images_per_second=1e-3, cores=1, num_samples=1)
    assert (found.recommended, found.command, found.cores_needed) == (found.as_is, None, 1)
    hopeless = plan_bytes(dataset, images_per_second=1e9, cores=1, num_samples=1)
    assert (hopeless.recommended, hopeless.command) == (None, None)
    assert hopeless.closest.images_per_second == max(row.images_per_second for row in hopeless.rows)
    assert hopeless.cores_needed > 1000
    # Twice what the dataset gives as it is: speeds of two runs differ, not by that much.
    wanted = 2 * found.as_is.images_per_second
    between = plan_bytes(dataset, images_per_second=wanted, cores=1, num_samples=1)
    row = between.recommended
    assert row is not None and row.images_per_second >= wanted
    before = between.rows[: between.rows.index(row)]
    assert all(one.images_per_second < wanted for one in before)
    name = f"{dataset}-{row.max_side}px-q{row.quality}"
    assert between.command == (
        f"shardtools convert '{dataset}' '{name}' --max-side {row.max_side} --quality {row.quality}"
    )


def test_trials_are_what_encoding_gives(photos: list[bytes]) -> None:
    trial = try_encodings(photos[0], (None, 200), (90, 60))
    sample = make_sample(photos[0], decode=False, extension="jpg", key="a")

    for made in trial.encodings:
        encoded = encode_sample(sample, EncodingOptions(max_side=made.max_side, quality=made.quality))
        assert made.num_bytes == len(encoded.image_bytes or b"")
        assert made.num_pixels == (encoded.width or 0) * (encoded.height or 0)
        assert made.seconds > 0


def test_other_formats_are_planned_too(tmp_path: Path) -> None:
    pictures = [drawing(0, (300, 200)), drawing(1, (200, 300)).convert("L"), drawing(2, (90, 90))]
    samples = [
        make_sample(encode(image, "PNG"), decode=False, extension="png", key=f"k{number}")
        for number, image in enumerate(pictures)
    ]
    samples.append(encode_sample(samples[0], EncodingOptions(write_mode="raw")))
    raw = Sample(key="raw", image_bytes=samples[-1].image_bytes, image_format="raw", width=300, height=200, mode="RGB")
    found = plan_bytes(write_dataset(tmp_path, [*samples[:3], raw]), images_per_second=5, cores=1)

    assert found.num_samples == 4
    assert found.recommended == found.as_is


def test_a_dataset_without_a_decodable_image_is_refused(tmp_path: Path) -> None:
    none = write_dataset(tmp_path / "none", [make_sample(b"", decode=False, extension="jpg", key="a")])
    cut = write_dataset(
        tmp_path / "cut", [make_sample(jpeg()[:-200], decode=False, extension="jpg", key="a", class_index=0)]
    )
    for place, words in ((none, "holds no image"), (cut, "truncated"), (str(tmp_path / "no"), "no dataset")):
        with pytest.raises(DatasetError, match=words) as caught:
            plan_bytes(place, images_per_second=1, cores=1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "changed"),
    [
        ("--images-per-second", {"images_per_second": 0}),
        ("--images-per-second", {"images_per_second": math.nan}),
        ("--cores", {"cores": 0}),
        ("--sample", {"num_samples": 0}),
        ("--seed", {"seed": -1}),
    ],
)
def test_options_are_checked(option: str, changed: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=option):
        plan_bytes("nowhere", **{"images_per_second": 1, "cores": 1, **changed})  # type: ignore[arg-type]


@given(
    st.floats(1e-6, 1e-4),
    st.floats(1e-10, 1e-8),
    st.floats(0, 1e-3),
    st.lists(st.tuples(st.integers(1000, 200_000), st.integers(1000, 300_000)), min_size=8, max_size=20, unique=True),
)
def test_an_exact_cost_is_found_again(a: float, b: float, c: float, images: list[tuple[int, int]]) -> None:
    seconds = [a * num_bytes / 1000 + b * num_pixels + c for num_bytes, num_pixels in images]
    cost = fit_decode_cost([one[0] for one in images], [one[1] for one in images], seconds)

    assert cost.relative_error < 1e-5
    for (num_bytes, num_pixels), expected in zip(images, seconds, strict=True):
        assert cost.seconds(num_bytes, num_pixels) == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**7), st.floats(1e-6, 1)), min_size=1, max_size=9))
def test_no_cost_is_negative(timings: list[tuple[int, int, float]]) -> None:
    cost = fit_decode_cost(*([timing[position] for timing in timings] for position in range(3)))

    assert min(cost.seconds_per_kilobyte, cost.seconds_per_pixel, cost.seconds_per_image) >= 0
    assert cost.seconds(1, 1) > 0


def test_psnr_by_hand() -> None:
    gray = Image.new("L", (10, 10), 100)
    assert psnr(gray, gray) == 100
    # One step of 255 everywhere: 20 * log10(255).
    assert psnr(gray, Image.new("RGB", (10, 10), (101, 99, 101))) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(Image.new("L", (4, 4), 0), Image.new("L", (4, 4), 255)) == 0


def test_sides_make_most_images_smaller() -> None:
    assert choose_sides([500] * 9 + [5000]) == (None, 448, 384, 320, 256, 224, 192, 160)
    assert choose_sides([28]) == (None,)
    assert choose_sides([4000])[1:4] == (2048, 1536, 1024)


def test_the_command_prints_a_table_and_the_next_step(dataset: str) -> None:
    options = [dataset, "--images-per-second", "1e9", "--cores", "3", "--sample", "1"]
    text = CliRunner().invoke(command, options, catch_exceptions=False).output
    lines = text.splitlines()

    assert lines[0].endswith("4 images; 1 of them tried on this machine")
    assert lines[3].split("  ")[0] == "max side"
    assert "images/s on 3 cores" in lines[3]
    assert lines[4].startswith("as it is  as it is")
    assert "none of these reaches it" in lines[-1]
    found = json.loads(CliRunner().invoke(command, [*options, "--json"], catch_exceptions=False).output)
    assert found["target"] == 1e9
    assert len(found["rows"]) == 40
    assert found["rows"][0]["max_side"] is None
    easy = CliRunner().invoke(command, [dataset, "--images-per-second", "1", "--sample", "1"], catch_exceptions=False)
    assert "nothing to do" in easy.output


def test_the_next_step_is_a_command(dataset: str) -> None:
    speed = plan_bytes(dataset, images_per_second=1, cores=1, num_samples=1).as_is.images_per_second
    options = [dataset, "--images-per-second", str(2 * speed), "--cores", "1", "--sample", "1"]
    text = CliRunner().invoke(command, options, catch_exceptions=False).output

    assert "  shardtools convert '" in text
    assert "  yes" in text


def test_the_corpus_depends_on_the_number_of_images_alone(tmp_path: Path) -> None:
    facts = make_corpus(tmp_path / "a", 3, num_processes=1)
    again = make_corpus(tmp_path / "a", 3, num_processes=1)
    content = {path: (tmp_path / "a" / path).read_bytes() for path in map(image_path, range(3))}
    with Image.open(find_photos()[1]) as image:
        assert make_image(image.convert("RGB"), 1) == content[image_path(1)]

    assert facts == again == read_facts(tmp_path / "a")
    assert (facts.num_images, facts.num_classes) == (3, 3)
    with pytest.raises(CorpusError, match="not this corpus"):
        make_corpus(tmp_path / "a", 2, num_processes=1)


def test_corpus_images_are_like_imagenets(photos: list[bytes]) -> None:
    assert 50_000 < np.mean([len(content) for content in photos]) < 160_000
    for content in photos:
        sample = make_sample(content, decode=True, extension="jpeg", key="a")
        assert (sample.status, sample.mode, sample.image_format) == ("ok", "RGB", "jpg")
        assert max(sample.width or 0, sample.height or 0) in (500, 640)
    assert [image_path(number) for number in (0, 1, 100)] == [
        "n02869837/n02869837_0.JPEG",
        "n01749939/n01749939_0.JPEG",
        "n02869837/n02869837_1.JPEG",
    ]
