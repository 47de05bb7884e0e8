"""`shardtools bench read`: real measurements of a small dataset, and advice out of given numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from shardtools.cli.bench import command, summary
from shardtools.decode import DecodeOptions
from shardtools.errors import OptionError
from shardtools.loader import CenterCropOptions, CropOptions, OrderOptions, ResizeOptions, dino_multi_crop, read_all
from shardtools.readbench import ReadBench, ReadBenchOptions, Speed, StageShares, advise, measure_reading
from shardtools.readbench.decoding import DecodeSample, decode_for, entropy_share, share_of_large_crops
from shardtools.readbench.residency import resident_share
from tests.helpers import jpeg_files
from tests.helpers.batch_readers import upload, write
from tests.helpers.s3_server import S3Server

NUM_IMAGES = 40


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("bench") / "out", num_shards=2, samples_per_shard=NUM_IMAGES // 2)


def sample(width: int = 320, height: int = 240) -> DecodeSample:
    images = [jpeg_files.save(jpeg_files.photo(width, height, seed), quality=90) for seed in range(4)]
    return DecodeSample(
        images=images,
        sizes=np.array([[width, height]] * 4, np.int32),
        raw_sizes=None,
        key_hashes=np.arange(4, dtype=np.uint64),
        num_bad=0,
    )


def bench(**changes: Any) -> ReadBench:
    """Numbers of a machine where nothing is wrong but the cost of decoding."""
    speed = Speed(num_images=1000, num_bytes=100_000_000, seconds=1.0)
    whole = ReadBench(
        dataset="my photos",
        is_remote=False,
        num_images=2000,
        num_bytes=200_000_000,
        mean_width=500.0,
        mean_height=400.0,
        num_cores=2,
        num_threads=2,
        batch_size=64,
        crop="RandomResizedCrop 224",
        shuffle="global",
        decoder="native",
        library="libjpeg-turbo 2.1.5",
        simd="avx2",
        table_seconds=0.1,
        first_batch_seconds=0.3,
        resident_share=1.0,
        num_requests=0,
        num_request_bytes=0,
        reading=replace(speed, seconds=0.1),
        reading_again=replace(speed, seconds=0.1),
        one_thread=replace(speed, seconds=1.9),
        all_threads=replace(speed, seconds=0.95),
        scaled=None,
        loader=speed,
        shares=StageShares(entropy=0.5, pixels=0.3, resize=0.15, color=0.0, waiting=0.02, rest=0.03),
        waiting_at_start=0.0,
        cpu_share=1.0,
        num_bad=0,
    )
    return replace(whole, **changes)


def test_the_command_measures_and_prints_one_screen(dataset: str) -> None:
    arguments = ["read", dataset, "--seconds", "0.2", "--crop", "32", "--batch-size", "8", "--threads", "2"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) < 30
    assert lines[0].startswith(f"{dataset}: 40 images of ")
    assert "RandomResizedCrop 32, batches of 8, shuffle global; 2 threads" in lines[1]
    assert lines[2].startswith("first batch after ")
    assert [line.split("  ")[0] for line in lines[4:10]] == [
        "what",
        "loader, 2 threads",
        "decoding alone, 2 threads: the bound",
        "decoding alone, 1 thread",
        "reading alone",
        "reading alone, once more",
    ]
    assert "What would help:" in lines


@pytest.mark.parametrize("arguments", [["--multi-crop", "--threads", "1"], ["--shuffle", "blocks", "--crop", "16"]])
def test_json_holds_every_number(dataset: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(command, ["read", dataset, "--seconds", "0.1", "--json", *arguments])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["num_images"] == NUM_IMAGES
    assert sum(found["shares"].values()) == pytest.approx(1, abs=1e-6)
    assert all(0 <= share <= 1 for share in found["shares"].values())
    assert found["reading"]["num_images"] == found["reading_again"]["num_images"] == NUM_IMAGES
    assert found["reading"]["num_bytes"] == found["num_bytes"]
    for name in ("loader", "one_thread", "all_threads", "reading"):
        assert found[name]["images_per_second"] == pytest.approx(found[name]["num_images"] / found[name]["seconds"])
        assert found[name]["num_images"] > 0
    assert found["advice"]
    assert (found["num_bad"], found["decoder"], found["is_remote"]) == (0, "native", False)


def test_an_object_store_is_measured_too(s3_environment: S3Server, dataset: str) -> None:
    url = s3_environment.url("bench/photos")
    upload(dataset, url)
    arguments = ["read", url, "--seconds", "0.1", "--crop", "32", "--threads", "2"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{url}: 40 images of ") and lines[0].endswith("on average, in an object store")
    # Both shards are shorter than what is read through between two samples.
    assert lines[3].startswith("reading alone asked for 2 ranges of 0.0")
    assert "times the images' bytes" in lines[3]
    assert "local" not in result.output and "in memory before" not in result.output
    found = json.loads(CliRunner().invoke(command, [*arguments, "--shuffle", "blocks", "--json"]).output)
    assert (found["is_remote"], found["resident_share"], found["num_requests"]) == (True, None, 2)
    assert found["num_request_bytes"] >= found["reading"]["num_bytes"] == found["num_bytes"]
    assert 0 <= found["waiting_at_start"] <= 1


def test_other_crops_and_pillow_are_measured_too(dataset: str) -> None:
    for crop, words in (
        (CenterCropOptions(size=16, resize=20), "centre crop 16 of 20"),
        (ResizeOptions(height=8, width=9), "resize to 8 x 9"),
    ):
        found = measure_reading(ReadBenchOptions(dataset=dataset, crop=crop, seconds=0.05, backend="pillow"))
        assert (found.crop, found.decoder) == (words, "pillow")
        assert found.shares.entropy == found.shares.resize == 0
        assert found.loader.num_images > 0
        assert "Pillow takes about three times as long" in advise(found)[-2] + advise(found)[0] + advise(found)[1]


def test_bad_images_are_counted_not_raised(tmp_path: Path) -> None:
    url = write(tmp_path / "out", num_shards=1, samples_per_shard=12)
    table = read_all([url])
    tar = tmp_path / "out" / table.shards[0][1]
    content = bytearray(tar.read_bytes())
    start = int(table.member_offset[3])
    content[start : start + 40] = bytes(40)
    tar.write_bytes(bytes(content))
    found = measure_reading(ReadBenchOptions(dataset=url, seconds=0.05, batch_size=12))
    assert found.num_bad >= 1
    assert "could not be decoded: shardtools verify" in advise(found)[-1]


def test_most_of_a_detailed_image_is_its_codes() -> None:
    detailed, crop = sample(), CropOptions(size=64)
    one = decode_for(0.1, detailed, crop, 0, DecodeOptions(backend="native"))
    assert one.speed.num_images >= 4
    assert one.num_bad == 0
    assert 0.2 < entropy_share(0.1, detailed, crop, 0, one) <= 1


def test_large_crops_are_those_that_can_be_decoded_smaller() -> None:
    assert share_of_large_crops(sample(), CropOptions(size=200), 0) == 0
    assert share_of_large_crops(sample(), CropOptions(size=16), 0) > 0.9
    assert share_of_large_crops(sample(), CenterCropOptions(size=100, resize=110), 0) == 1
    assert share_of_large_crops(sample(), dino_multi_crop(), 0) == 0


def test_what_was_just_written_is_in_memory(dataset: str) -> None:
    share = resident_share(read_all([dataset]), np.arange(NUM_IMAGES))
    assert share is not None
    assert 0 < share <= 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "fewer bytes: decoding takes 80% of the time, 50% for the codes of 100 kB an image; half of them would"),
        ({}, "  shardtools plan-bytes 'my photos' --images-per-second 1600 --cores 2"),
        ({}, "cores: one decodes 526 images/s, so 10,000/s take about 19 like these"),
        ({"num_cores": 8}, "threads: 2 on 8 cores; with --threads 8 at most 4211 images/s"),
        ({"num_threads": 4}, "threads: 4 share 2 cores; take --threads 2"),
        ({"decoder": "pillow"}, "the native decoder: it was not built"),
        ({"cpu_share": 0.5}, "a quieter machine: decoding got 50% of the cores' time"),
        ({"table_seconds": 2.0}, "a table that is kept: 2.0 s of the start"),
        ({"num_bad": 3}, "3 images could not be decoded: shardtools verify 'my photos'"),
        (
            {"scaled": Speed(num_images=1300, num_bytes=1, seconds=1.9)},
            "LoaderOptions(allow_scaled=True): 1.30 times as fast to decode",
        ),
    ],
)
def test_advice_says_what_helps_with_its_number(changes: dict[str, Any], line: str) -> None:
    assert [found for found in advise(bench(**changes)) if found.startswith(line)]


def test_advice_on_waiting_depends_on_where_the_bytes_are() -> None:
    shares = StageShares(entropy=0.3, pixels=0.2, resize=0.1, color=0.0, waiting=0.4, rest=0.0)
    slow = bench(shares=shares, loader=Speed(num_images=600, num_bytes=60_000_000, seconds=1.0))
    local = "\n".join(advise(slow))
    assert "threads wait for bytes 40% of the time; without, 1000 images/s: a faster disk, or shuffle='blocks'" in local
    remote = "\n".join(advise(replace(slow, is_remote=True, resident_share=None)))
    assert "ReadOptions(cache_folder=..., cache_bytes=1 * 2**30)" in remote
    assert "shuffle='blocks' reads long ranges" in remote
    assert "long ranges" not in "\n".join(advise(replace(slow, is_remote=True, shuffle="blocks")))
    short = replace(slow, waiting_at_start=0.6, is_remote=True)
    assert "40% of the time, mostly at the start of an epoch of 2000 images; without" in "\n".join(advise(short))
    cold = replace(slow, resident_share=0.1, reading=Speed(num_images=1, num_bytes=10**8, seconds=1.0))
    assert "from memory bytes come at 1000 MB/s instead of 100; 0.2 GB of free memory would do" in "\n".join(
        advise(cold)
    )


def test_the_summary_gives_each_stage_in_microseconds_and_shares() -> None:
    lines = summary(bench(), ["more cores"]).splitlines()
    # 1,000 images in a second of two threads are 2,000 us each.
    assert [line.split()[-2:] for line in lines if line.startswith("reading codes")] == [["1000", "50%"]]
    assert [line.split()[-3:] for line in lines if line.startswith("decoding alone, 1 thread")] == [
        ["526", "52.6", "1.9"]
    ]
    assert lines[-2:] == ["What would help:", "  more cores"]
    # A raw .beton has no codes, and a dataset without codes no advice to have fewer of them.
    shares = StageShares(entropy=0.0, pixels=0.9, resize=0.1, color=0.0, waiting=0.0, rest=0.0)
    assert [line.split(":")[0] for line in advise(bench(shares=shares))] == ["cores"]


def test_options_that_cannot_be_are_refused() -> None:
    for seconds in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(OptionError, match="seconds is above 0"):
            ReadBenchOptions(dataset="x", seconds=seconds)
    with pytest.raises(OptionError, match="shuffle='weighted' needs a view's weights"):
        ReadBenchOptions(dataset="x", shuffle="weighted")
    with pytest.raises(OptionError, match="num_threads is at least 1, found 0"):
        ReadBenchOptions(dataset="x", num_threads=0)
    assert ReadBenchOptions(dataset="x", seed=7).loader_options().order == OrderOptions(seed=7)


def test_help_shows_an_example() -> None:
    for arguments in (["--help"], ["read", "--help"]):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0
    assert "shardtools bench read photos-shards" in result.output
