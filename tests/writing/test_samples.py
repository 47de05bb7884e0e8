"""Arrays become a dataset: the same pixels and labels in order, and every promise of writing."""

from __future__ import annotations

import inspect
import io
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from shardtools.dataset import open_dataset
from shardtools.encoding import EncodingOptions
from shardtools.errors import OptionError, PlanMismatchError, SourceError
from shardtools.loader import CropOptions, Loader, LoaderOptions
from shardtools.sources import GivenSample, open_samples
from shardtools.storage import open_storage
from shardtools.verify import verify
from shardtools.writing import WriteOptions, write_samples
from shardtools.writing.samples import join_columns
from tests.helpers.photo_datasets import content
from tests.helpers.pictures import jpeg
from tests.helpers.writing_jobs import write_in_process

PER_SHARD = 4
RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (23, 6, 5, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 23)


def write_here(samples: Iterable[GivenSample], out: Path, num_processes: int = 1, **options: Any) -> None:
    """What `write_samples` does, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        source = open_samples(samples, Path(folder), lossless=options.pop("lossless", "png"))
        wanted = WriteOptions(source=source, out=str(out), **{"samples_per_shard": PER_SHARD, **options})
        write_in_process(wanted, num_processes)


def table(images: Any = IMAGES, labels: Any = LABELS, split: Any = "train", **columns: Any) -> Iterator[GivenSample]:
    return join_columns(images, labels=labels, split=split, **{"keys": None, "provenance": None, **columns})


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for one in open_dataset(str(out)).tables() for row in one.to_pylist()]


def pixels(out: Path, row: dict[str, Any]) -> Any:
    """The image of a row, decoded by Pillow."""
    payload = open_storage(str(out)).read_range(row["shard"], row["member_offset"], row["num_bytes"])
    return np.asarray(Image.open(io.BytesIO(payload)))


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))
GIVEN = st.lists(
    st.tuples(
        arrays.arrays(np.uint8, SHAPES),
        st.none() | st.integers(0, 2**31 - 1),
        st.sampled_from(["train", "val", "test"]),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=40)
@given(GIVEN, st.integers(1, 4), st.integers(1, 3))
def test_arrays_come_back_as_they_were_in_order(
    samples: list[tuple[Any, int | None, str]], samples_per_shard: int, num_processes: int
) -> None:
    images, labels, splits = ([sample[column] for sample in samples] for column in range(3))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        write_here(table(images, labels, splits), out, num_processes, samples_per_shard=samples_per_shard)
        found = rows(out)
        decoded = [pixels(out, row) for row in found]

    # The manifest goes split by split; within a split the order is the one given.
    order = sorted(range(len(samples)), key=lambda number: (splits.index(splits[number]), number))
    by_split = sorted(range(len(found)), key=lambda number: (splits.index(found[number]["split"]), number))
    assert len(found) == len(samples)
    for expected, position in zip(order, by_split, strict=True):
        row = found[position]
        assert np.array_equal(decoded[position], images[expected])
        assert (row["class_index"], row["split"], row["status"]) == (labels[expected], splits[expected], "ok")
        assert row["source_path"] == f"samples:{expected}"


def test_the_loader_gives_their_pixels_and_labels(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    write_here(table(images, range(10)), tmp_path / "out")
    options = LoaderOptions(
        datasets=(str(tmp_path / "out"),),
        split="train",
        batch_size=10,
        crop=CropOptions(size=16, scale=(1, 1), ratio=(1, 1), flip_probability=0),
    )
    with Loader(options) as loader:
        batch = next(iter(loader.epoch(0)))
        for image, label in zip(batch.images, batch.labels, strict=True):
            assert np.array_equal(image, images[label])


def test_killed_with_any_shards_left_it_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_here(table(), out)
    whole = content(out)
    write_here(table(), tmp_path / "three", 3)
    assert content(tmp_path / "three") == whole
    parts = sorted((out / "manifest").iterdir())
    for missing in (parts[:1], parts[2:], parts):
        # As a kill leaves it: no commit, and shards that have no part.
        (out / "dataset.json").unlink()
        for part in missing:
            part.unlink()
        write_here(iter(list(table())), out, 2)
        assert content(out) == whole
    assert verify(str(out)).problems == ()


def test_other_content_is_refused_by_name_and_harms_nothing(tmp_path: Path) -> None:
    write_here(table(), tmp_path / "out")
    before = content(tmp_path / "out")
    darker = IMAGES.copy()
    darker[7, 0, 0, 0] ^= 1
    changes: dict[str, dict[str, Any]] = {
        "images": {"images": darker},
        "labels": {"labels": [*LABELS[:-1], 9]},
        "keys": {"keys": [f"k{number}" for number in range(23)]},
        "provenance": {"provenance": {"severity": [1] * 23}},
    }
    for name, change in changes.items():
        with pytest.raises(PlanMismatchError, match=rf"another plan: {name} is \"\w+\.\.\. there"):
            write_here(table(**change), tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_further_arrays_are_appended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_here(table(), out)
    with pytest.raises(SourceError, match=r"key 'train_00000' is in .* already"):
        write_here(table(), out, append=True)
    for _ in range(2):
        write_here(table(), out, append=True, key_prefix="more_")
    found = rows(out)
    assert [row["key"] for row in found] == [
        *(f"train_{number:05d}" for number in range(23)),
        *(f"more_train_{number:05d}" for number in range(23)),
    ]
    assert verify(str(out)).problems == ()


def test_jpegs_of_a_stated_quality(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, np.newaxis], (1, 64))
    encoding = EncodingOptions(write_mode="jpg", quality=80)
    write_here([GivenSample(image=smooth)], tmp_path / "ppm", encoding=encoding, lossless="ppm")
    write_here([GivenSample(image=smooth)], tmp_path / "png", encoding=encoding)
    (row,), (other,) = rows(tmp_path / "ppm"), rows(tmp_path / "png")
    assert (row["image_format"], row["mode"], row["jpeg_quality"], row["source_width"]) == ("jpg", "L", 80, 64)
    # The way there does not show in the picture, only in what it was made from.
    assert row["sha256"] == other["sha256"] and row["source_num_bytes"] == len(b"P5\n64 64\n255\n") + 64 * 64
    assert np.abs(pixels(tmp_path / "ppm", row).astype(int) - smooth).max() < 8


def test_raw_pixels_in_a_beton(tmp_path: Path) -> None:
    write_here(table(), tmp_path / "out", layout="beton", encoding=EncodingOptions(write_mode="raw"), lossless="ppm")
    first = rows(tmp_path / "out")[0]
    payload = open_storage(str(tmp_path / "out")).read_range(first["shard"], first["member_offset"], first["num_bytes"])
    assert first["image_format"] == "raw" and payload == IMAGES[0].tobytes()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"labels": LABELS[:5]}, "^23 images, 5 values in labels: give one value an image$"),
        ({"labels": iter([0, 1])}, "^labels end after 2, others go on"),
        ({"images": iter(IMAGES[:2])}, "^images end after 2, others go on"),
        ({"keys": ["a"]}, "23 images, 1 values in keys"),
        ({"split": ["train"]}, "23 images, 1 values in split"),
        ({"provenance": {"severity": [1]}}, "23 images, 1 values in provenance severity"),
        ({"labels": np.eye(23)}, r"^labels: expected shape \[N\], one value an image, found \[23, 23\]$"),
        ({"labels": 3}, "^labels: expected one value an image, found 3"),
        ({"keys": "abc"}, "^keys: expected one value an image, found 'abc'"),
        ({"images": IMAGES[0, 0, 0]}, r"^images: expected shape .*, found \[3\]"),
        ({"images": [], "labels": None}, "no samples were given"),
        ({"images": IMAGES / 255}, r"^image 0: expected uint8 .*, found float64 \[6, 5, 3\]: scale it"),
        ({"labels": np.where(LABELS == 1, np.nan, 0)}, r"^label of image 0: .* found np\.float64"),
        ({"keys": ["a"] * 23}, "key 'a' comes twice, for images 0 and 1"),
    ],
)
def test_columns_that_do_not_fit_are_one_line(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        write_here(table(**columns), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_options_are_checked_before_the_first_image_is_taken(tmp_path: Path) -> None:
    def never() -> Iterator[bytes]:
        pytest.fail("an image was taken")
        yield b""

    with pytest.raises(OptionError):
        write_samples(never(), None, tmp_path / "out", layout="zip")
    with pytest.raises(OptionError):
        write_samples(never(), None, tmp_path / "out", samples_per_shard=0)


def test_defaults_are_those_of_the_options() -> None:
    defaults = {name: one.default for name, one in inspect.signature(write_samples).parameters.items()}
    shared = {one.name: one.default for one in fields(WriteOptions) if one.name in defaults and one.name != "out"}
    assert {name: defaults[name] for name in shared} == {**shared, "encoding": None}
    assert set(shared) == {"layout", "encoding", "append", "samples_per_shard", "num_processes"}
    opened = {name: one.default for name, one in inspect.signature(open_samples).parameters.items()}
    for name in ("classes", "origin", "label_source"):
        assert defaults[name] == opened[name]


def test_the_examples_of_the_docs_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs/write.md").read_text()
    section = page.partition("## Arrays and other samples in hand\n")[2].partition("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/write.md", "exec"), {"__name__": "example"})

    promised = re.search(r"print\(result.splits\)  # (.*)", section)
    assert promised and capsys.readouterr().out == f"{promised[1]}\n"
    noise, squares = rows(tmp_path / "noise"), rows(tmp_path / "squares")
    assert {(row["split"], row["wnid"]) for row in noise} == {(s, w) for s in ("train", "val") for w in ("even", "odd")}
    assert [row["key"] for row in squares] == [f"square{side:02d}" for side in range(1, 31)]
    assert {(row["source"], row["label_source"], row["mode"]) for row in squares} == {("rendered", "given", "L")}
    assert pixels(tmp_path / "squares", squares[4]).sum() == 255 * 25


def test_processes_of_their_own_give_the_same_bytes(tmp_path: Path) -> None:
    images = [*IMAGES[:9], jpeg(1), jpeg(2)[:-40]]
    labels = [*LABELS[:9].tolist(), 1, 1]
    write_here(table(images, labels), tmp_path / "here")
    for num_processes in (1, 3):
        out = tmp_path / f"out{num_processes}"
        result = write_samples(
            iter(images), iter(labels), out, samples_per_shard=PER_SHARD, num_processes=num_processes
        )
        assert (result.num_written, result.statuses) == (11, {"ok": 10, "undecodable": 1})
        assert (result.source_kind, result.num_processes) == ("samples", num_processes)
        assert content(out) == content(tmp_path / "here")
