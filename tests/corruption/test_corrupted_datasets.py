"""Corrupted copies of a dataset are a dataset: which copies, whose, and the same whoever makes them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.cli import main
from shardtools.corruption import CORRUPTION_SETS, CorruptOptions, corrupt, open_corrupted, perturb, sample_seed
from shardtools.corruption.source import CorruptedSource
from shardtools.errors import OptionError, SourceError
from shardtools.sql import query
from shardtools.verify import verify
from shardtools.writing import WriteOptions
from tests.helpers.opened_sources import opened
from tests.helpers.photo_datasets import content
from tests.helpers.pictures import drawing, encode, jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

TWO = CorruptOptions(corruptions=("gaussian_noise", "speckle_noise"), severities=("1", "4"), whole=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"class{n % 2}/photo{n}.png": encode(drawing(n), "PNG") for n in range(4)}
    return write_files(tmp_path_factory.mktemp("pictures"), files | {"class0/cut.jpg": jpeg(3)[:-50]})


def copies(pictures: Path, folder: Path, options: CorruptOptions = TWO) -> CorruptedSource:
    return open_corrupted(opened(pictures, folder), options)


def pixels(image_bytes: bytes | None) -> Any:
    assert image_bytes is not None
    return np.asarray(Image.open(io.BytesIO(image_bytes)).convert("RGB"))


def test_every_copy_says_what_was_done_to_which_picture(pictures: Path, tmp_path: Path) -> None:
    source = copies(pictures, tmp_path / "index", replace(TWO, clean=True))
    found = list(source.samples("train", 0, source.splits["train"]))
    assert len(found) == 5 * 4 and [one.key for one in found] == list(source.keys("train"))
    for one in found:
        named, whose = one.provenance, one.provenance["source_path"]
        assert one.source == "corrupted"
        assert one.key == f"{whose}-{named['corruption']}-{named['severity']}"
        if "cut" in whose:
            assert (one.status, one.image_bytes) == ("undecodable", None)
            continue
        number = int(whose[-1])
        original = encode(drawing(number), "PNG")
        assert named["source_sha256"] == hashlib.sha256(original).hexdigest()
        seed = sample_seed(0, whose, named["corruption"], named["severity"])
        expected = corrupt(pixels(original), named["corruption"], named["severity"], seeds=seed, clean=True)
        np.testing.assert_array_equal(pixels(one.image_bytes), expected)
        assert (one.image_format, one.width, one.height) == ("png", expected.shape[1], expected.shape[0])


def test_any_range_of_positions_gives_the_same_copies(pictures: Path, tmp_path: Path) -> None:
    source = copies(pictures, tmp_path / "index")
    found = list(source.samples("train", 0, 20))
    assert {one.image_format for one in found if one.image_bytes} == {"jpg"}
    for start, stop in ((0, 1), (3, 5), (7, 19), (20, 20)):
        assert list(source.samples("train", start, stop)) == found[start:stop]


def test_the_dataset_is_the_same_from_one_process_and_from_two(pictures: Path, tmp_path: Path) -> None:
    written = []
    for ranks in (1, 2):
        source = copies(pictures, tmp_path / f"index{ranks}")
        out = tmp_path / f"out{ranks}"
        write_in_process(WriteOptions(source=source, out=str(out), samples_per_shard=3), ranks)
        written.append(content(out))
    assert written[0] == written[1]
    assert verify(str(tmp_path / "out2")).problems == ()
    rows = query(
        "select corruption, severity, count(*) as images from samples where status = 'ok' group by all order by all",
        [str(tmp_path / "out2")],
    )
    assert rows.to_pylist() == [
        {"corruption": name, "severity": severity, "images": 4} for name in TWO.corruptions for severity in (1, 4)
    ]


def test_what_is_corrupted_already_is_refused(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_in_process(WriteOptions(source=copies(pictures, tmp_path / "index"), out=str(out)), 1)
    with pytest.raises(SourceError, match=r"is corrupted already \(gaussian_noise\): give the pictures as they were"):
        list(copies(out, tmp_path / "index").samples("train", 0, 1))


def test_the_center_is_cut_out_as_the_published_program_does(tmp_path: Path) -> None:
    image = drawing(1).resize((90, 60))
    source = write_files(tmp_path / "one", {"a/x.png": encode(image, "PNG")})
    options = CorruptOptions(corruptions=("gaussian_noise",), severities=("1",), resize=40, image_size=32, clean=True)
    (made,) = copies(source, tmp_path / "index", options).samples("train", 0, 1)
    view = np.asarray(image.resize((60, 40), Image.Resampling.BILINEAR))[4:36, 14:46]
    seed = sample_seed(0, made.provenance["source_path"], "gaussian_noise", 1)
    np.testing.assert_array_equal(pixels(made.image_bytes), corrupt(view, "gaussian_noise", 1, seeds=seed, clean=True))


def test_frames_of_a_sequence_follow_each_other(tmp_path: Path) -> None:
    image = drawing(1).resize((90, 60))
    source = write_files(tmp_path / "one", {"a/x.png": encode(image, "PNG")})
    options = CorruptOptions(corruption_set="imagenet-p", corruptions=("shot_noise", "tilt"), resize=40, image_size=32)
    frames = copies(source, tmp_path / "index", options)
    found = list(frames.samples("train", 0, frames.splits["train"]))
    view = np.asarray(image.resize((60, 40), Image.Resampling.BILINEAR))
    key = found[0].provenance["source_path"]
    for start, name in ((0, "shot_noise"), (31, "tilt")):
        made = perturb(view, name, seed=sample_seed(0, key, name, 1), size=32)
        for number, one in enumerate(found[start : start + 31]):
            assert one.key == f"{key}-{name}-1-{number:02d}"
            assert (one.provenance["corruption"], one.provenance["frame"]) == (name, number)
            np.testing.assert_array_equal(pixels(one.image_bytes), made[number])
    assert len(found) == 62 and list(frames.samples("train", 20, 40)) == found[20:40]


def test_a_picture_smaller_than_the_center_is_refused(pictures: Path, tmp_path: Path) -> None:
    source = copies(pictures, tmp_path / "index", CorruptOptions())
    with pytest.raises(SourceError, match=r"fewer than the 224 that are cut out: give --whole"):
        list(source.samples("train", 0, 75))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corruptions": ("rain",)}, "--corruption is one of gaussian_noise, .* with --set imagenet-c, found 'rain'"),
        ({"severities": ("6",)}, "--severity is of 1 to 5, found '6'"),
        ({"corruption_set": "imagenet-d"}, "--set is one of imagenet-c, extra, imagenet-p, .*, found 'imagenet-d'"),
        ({"corruption_set": "imagenet-p", "severities": ("4",)}, "--severity is of 1 to 3, found '4'"),
        ({"corruption_set": "imagenet-p", "severities": ("1", "2")}, "sequences other than noise is 1, found 1,2 with"),
        ({"corruption_set": "imagenet-p", "corruptions": ("fog",)}, "--corruption is one of .*imagenet-p, found 'fog'"),
        ({"image_size": 300}, "--image-size is at most --resize, 256, found 300"),
        ({"quality": 0}, "--quality is 1 to 100, found 0"),
    ],
)
def test_options_out_of_range_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CorruptOptions(**changes)


def test_what_is_asked_for_twice_is_made_once() -> None:
    assert len(CorruptOptions(corruptions=("fog", "snow", "fog"), severities=("3", "1", "3")).variants) == 4
    assert len(CorruptOptions(corruption_set="imagenet-p", corruptions=("tilt", "tilt")).variants) == 31


def test_imagenet_c_has_75_copies_of_a_picture() -> None:
    assert len(CorruptOptions().variants) == 75
    assert len(CORRUPTION_SETS["extra"]) == 4
    assert len(CorruptOptions(corruption_set="imagenet-p").variants) == 9 * 31 + 41


def test_the_command_refuses_another_seed_for_the_same_folder(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    source = copies(pictures, tmp_path / "index")
    write_in_process(WriteOptions(source=source, out=out))
    words = ["corrupt", str(pictures), out, "--whole", "--corruption", ",".join(TWO.corruptions), "--severity", "1,4"]
    for more, code in (([], 0), (["--seed", "1"], 1)):
        with pytest.raises(SystemExit) as stop:
            main([*words, *more])
        assert stop.value.code == code
    captured = capsys.readouterr()
    assert "nothing left to write" in captured.out
    assert "corrupt_seed is 0 there, 1 here" in captured.err
