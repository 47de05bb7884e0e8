"""Samples in hand as a source: what is taken, in which order, and what is refused with which line."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.errors import OptionError, SourceError, TaxonomyError
from shardtools.sources import GivenSample, SourceOptions, open_samples, open_source
from shardtools.sources import given as given_module
from shardtools.taxonomy import load_classes
from tests.helpers.mounts import run_on_full_disk
from tests.helpers.opened_sources import by_key, everything, refused_by
from tests.helpers.pictures import drawing, encode, jpeg

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)


def refused(folder: Path, **facts: Any) -> str:
    """The line that a sample with these facts is refused with; a good one stands before it."""
    folder.mkdir(exist_ok=True)
    samples = [GivenSample(image=GRAY), GivenSample(**{"image": GRAY, **facts})]
    return refused_by(open_samples, samples, folder)


def test_arrays_keep_their_pixels_and_encoded_images_their_bytes(tmp_path: Path) -> None:
    given = [
        GivenSample(image=GRAY, label=3),
        GivenSample(image=COLOR[::-1, ::2], label=0, key="mirrored"),
        GivenSample(image=jpeg(1)),
        GivenSample(image=encode(drawing(2), "PNG"), label=1),
        GivenSample(image=jpeg(3)[:-40], label=1),
    ]
    gray, mirrored, photo, png, cut = everything(open_samples(given, tmp_path))["train"]

    assert (gray.key, gray.class_index, gray.wnid, gray.label_source) == ("train_00000", 3, "3", "given")
    assert (gray.image_format, gray.mode, gray.width, gray.height) == ("png", "L", 7, 5)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(gray.image_bytes or b""))), GRAY)
    assert (mirrored.key, mirrored.mode, mirrored.width) == ("mirrored", "RGB", 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(mirrored.image_bytes or b""))), COLOR[::-1, ::2])
    assert (photo.image_bytes, photo.image_format, photo.reason) == (jpeg(1), "jpg", None)
    assert (photo.class_index, photo.wnid, photo.label_source) == (None, None, None)
    assert png.image_format == "png" and png.image_bytes == encode(drawing(2), "PNG")
    # What cannot be decoded is a row with the reason, as in every source.
    assert (cut.status, cut.image_bytes, cut.class_index) == ("undecodable", None, 1) and cut.reason
    assert [sample.provenance["source_path"] for sample in (gray, cut)] == ["samples:0", "samples:4"]


def test_splits_that_come_mixed_keep_their_order(tmp_path: Path) -> None:
    names = ["val", "train", "train", "val", "train"]
    source = open_samples(
        (GivenSample(image=GRAY, label=number, split=split) for number, split in enumerate(names)), tmp_path
    )
    assert source.splits == {"val": 2, "train": 3}
    found = everything(source)
    assert [sample.class_index for sample in found["val"]] == [0, 3]
    assert [sample.class_index for sample in found["train"]] == [1, 2, 4]
    assert list(source.keys("train")) == ["train_00000", "train_00001", "train_00002"]
    assert list(source.samples("train", 1, 3)) == found["train"][1:]


def test_another_process_reads_them_without_being_sent_them(tmp_path: Path) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    source = open_samples((GivenSample(image=image, label=number) for number in range(20)), tmp_path)
    sent = pickle.dumps(source)

    assert len(sent) < image.nbytes / 50
    assert everything(pickle.loads(sent)) == everything(source)


def test_a_generator_is_consumed_once_and_one_sample_at_a_time(tmp_path: Path) -> None:
    held: list[int] = []

    def frames() -> Iterator[GivenSample]:
        buffer = np.zeros((4, 4), np.uint8)
        for number in range(3):
            # The same memory for all: what was given before must be on its way already.
            buffer[:] = number
            held.append(number)
            yield GivenSample(image=buffer)

    pixels = [
        np.asarray(Image.open(io.BytesIO(sample.image_bytes or b""))).max()
        for sample in everything(open_samples(frames(), tmp_path))["train"]
    ]
    assert held == pixels == [0, 1, 2]


def test_classes_give_the_labels_their_names(tmp_path: Path) -> None:
    def wnids(name: str, classes: Any) -> list[str | None]:
        (tmp_path / name).mkdir()
        samples = [GivenSample(image=GRAY, label=label) for label in (1, 0, None)]
        return [one.wnid for one in everything(open_samples(samples, tmp_path / name, classes=classes))["train"]]

    assert wnids("names", ["cat", "a dog"]) == ["a dog", "cat", None]
    assert wnids("set", "fashion") == [load_classes("fashion")[1].wnid, load_classes("fashion")[0].wnid, None]
    with pytest.raises(SourceError, match="label of image 0: expected one of 1 class"):
        wnids("few", ("cat",))
    for number, (classes, words) in enumerate(
        [(["cat", "cat"], "'cat' comes 2 times"), (["cat", ""], "found ''"), ([], "found none"), ([1], "found 1")]
    ):
        with pytest.raises(OptionError, match=words):
            wnids(f"odd{number}", classes)
    with pytest.raises(TaxonomyError):
        wnids("nosuch", "no-such-set")


def test_provenance_is_held_to_the_manifests_columns(tmp_path: Path) -> None:
    facts = {"corruption": "fog", "severity": np.int64(3), "guidance_scale": np.float32(2.5), "scene": None}
    source = open_samples([GivenSample(image=GRAY, key="a", provenance=facts)], tmp_path, origin="corrupted")
    sample = by_key(source)["a"]
    assert sample.source == "corrupted"
    assert sample.provenance == {
        "source_path": "samples:0",
        "corruption": "fog",
        "severity": 3,
        "guidance_scale": 2.5,
    }
    assert type(sample.provenance["severity"]) is int

    assert "'weather' is no column of the manifest" in refused(tmp_path / "1", provenance={"weather": "fog"})
    assert "severity is int32, found 'much'" in refused(tmp_path / "2", provenance={"severity": "much"})
    assert "severity is int32, found 4294967296" in refused(tmp_path / "3", provenance={"severity": 2**32})
    assert "found nan" in refused(tmp_path / "4", provenance={"guidance_scale": float("nan")})


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"image": GRAY.astype(np.float32) / 255}, r"found float32 \[5, 7\]: scale it to 0 to 255"),
        ({"image": np.full((2, 2), np.nan)}, r"found float64 \[2, 2\]: it holds NaN"),
        ({"image": GRAY.astype(np.uint16)}, r"expected uint8 of shape .*, found uint16"),
        ({"image": COLOR.transpose(2, 0, 1)}, r"found uint8 \[3, 4, 6\]: give channels last"),
        ({"image": np.zeros((2, 2, 4), np.uint8)}, r"give \[\.\.\., :3\] of it"),
        ({"image": np.zeros((2, 2, 1), np.uint8)}, r"give \[\.\.\., 0\] of it"),
        ({"image": np.zeros(12, np.uint8)}, r"found uint8 \[12\]"),
        ({"image": np.zeros((0, 3), np.uint8)}, "pixels, found 3x0"),
        ({"image": [[1, 2]]}, "expected a NumPy array or the bytes of an encoded image, found list"),
        ({"label": -1}, "label of image 1: expected a whole number from 0 to 2147483647, or None, found -1"),
        ({"label": float("nan")}, "label of image 1: .* found nan"),
        ({"label": 1.0}, "label of image 1: .* found 1.0"),
        ({"label": True}, "label of image 1: .* found True"),
        ({"label": 2**31}, "label of image 1: .* found 2147483648"),
        ({"key": "a/b"}, "image 1: a key has no"),
        ({"key": 7}, "image 1: a key is a text, found 7"),
        ({"key": "train_00000"}, "key 'train_00000' comes twice, for images 0 and 1"),
        ({"split": "Train set"}, "image 1: a split is named by lower-case letters"),
        ({"split": None}, "image 1: a split is a text, found None"),
    ],
)
def test_what_no_dataset_can_hold_is_one_line(tmp_path: Path, facts: dict[str, Any], words: str) -> None:
    line = refused(tmp_path / "in", **facts)
    assert re.search(words, line), line


def test_an_array_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_module, "MAX_PIXELS", 34)
    assert "image 0: expected 1 to 34 pixels, found 7x5" in refused(tmp_path / "in")


def test_options_and_emptiness(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no samples were given"):
        open_samples([], tmp_path)
    with pytest.raises(OptionError, match="source is one of real"):
        open_samples([GivenSample(image=GRAY)], tmp_path, origin="drawn")
    with pytest.raises(OptionError, match="lossless is png or ppm"):
        open_samples([GivenSample(image=GRAY)], tmp_path, lossless="gif")


def test_an_open_source_is_opened_as_it_is(tmp_path: Path) -> None:
    source = open_samples([GivenSample(image=GRAY)], tmp_path)
    assert open_source(source, tmp_path) is source
    assert source.kind == "samples"
    with pytest.raises(OptionError, match="--source-kind is one of"):
        SourceOptions(source="x", kind=source.kind)


FILL = """
import sys
from pathlib import Path
import numpy as np
from shardtools.errors import NoSpaceError
from shardtools.sources import GivenSample, open_samples
image = np.zeros((100, 100, 3), np.uint8)
try:
    open_samples((GivenSample(image=image) for _ in range(1000)), Path(sys.argv[1]))
except NoSpaceError as error:
    print(error)
"""


def test_a_full_disk_says_where_room_is_needed(tmp_path: Path) -> None:
    done = run_on_full_disk(tmp_path, FILL)
    assert re.fullmatch(r".*samples\.bin: .* at sample \d+: .* set TMPDIR to .*\n", done.stdout), done


def test_a_spill_that_is_gone_or_cut_is_named(tmp_path: Path) -> None:
    source = open_samples([GivenSample(image=GRAY), GivenSample(image=COLOR)], tmp_path)
    source.path.write_bytes(source.path.read_bytes()[:-1])
    with pytest.raises(SourceError, match="ends in sample 1, expected 72 bytes at byte 35"):
        everything(source)
    source.path.unlink()
    with pytest.raises(SourceError, match="keep the folder until"):
        everything(source)


def test_each_kind_of_fact_has_its_own_digest(tmp_path: Path) -> None:
    def settings(name: str, **facts: Any) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        sample = GivenSample(**{"image": GRAY, "label": 1, "key": "a", **facts})
        return dict(open_samples([sample], tmp_path / name).settings)

    base = settings("base")
    assert base == settings("again")
    changes: dict[str, dict[str, Any]] = {
        "images": {"image": GRAY[::-1]},
        "labels": {"label": 2},
        "keys": {"key": "b"},
        "provenance": {"provenance": {"severity": 1}},
    }
    for name, facts in changes.items():
        found = settings(name, **facts)
        assert [one for one in base if base[one] != found[one]] == [name]
    # The same bytes in another shape are another picture.
    assert settings("reshaped", image=GRAY.reshape(7, 5))["images"] != base["images"]
