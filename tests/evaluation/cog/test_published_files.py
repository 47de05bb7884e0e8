"""Pickles of the published form are read; what else a pickle may hold is refused before it runs."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import SourceError
from shardtools.evaluation.cog import published_levels, published_parts
from shardtools.evaluation.cog.pickle_data import Array, read_pickle
from tests.helpers.cog_worlds import FAR, NEAR


def dumped(folder: Path, value: Any, *, protocol: int = 4) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda wnids: np.array(wnids, dtype=object)])
def test_levels_are_read_from_lists_and_arrays(tmp_path: Path, protocol: int, kind: Any) -> None:
    found = published_levels(dumped(tmp_path, [kind(NEAR), kind(FAR)], protocol=protocol))
    assert [(level.name, level.wnids) for level in found] == [("L1", NEAR), ("L2", tuple(sorted(FAR)))]


def test_old_names_of_numpys_modules_are_known(tmp_path: Path) -> None:
    path = dumped(tmp_path, [np.array(NEAR), np.array(FAR)], protocol=3)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert published_levels(path)[0].wnids == NEAR


@pytest.mark.parametrize("protocol", [2, 4])
def test_images_are_read_by_concept_and_part(tmp_path: Path, protocol: int) -> None:
    def paths(wnid: str, numbers: range) -> np.ndarray:
        return np.array([f"/{wnid}/{wnid}_{number}.JPEG" for number in numbers])

    content = {wnid: {"train": paths(wnid, range(3)), "test": paths(wnid, range(3, 5))} for wnid in NEAR}
    tables = list(published_parts(dumped(tmp_path, content, protocol=protocol)))
    assert [table.num_rows for table in tables] == [3, 2] * 3
    assert tables[1].to_pylist()[0] == {"wnid": NEAR[0], "part": "test", "path": f"/{NEAR[0]}/{NEAR[0]}_3.JPEG"}


def test_values_of_all_known_kinds_come_back(tmp_path: Path) -> None:
    value = [1, -(2**70), True, None, 0.5, b"bytes", "text", (1, 2), {"a": {3}}, np.int64(7), np.str_("s"), set("ab")]
    for protocol in (1, 2, 4):
        found = read_pickle(dumped(tmp_path, value, protocol=protocol))
        assert found == value
    whole = read_pickle(dumped(tmp_path, np.arange(5, dtype=">i2")))
    assert isinstance(whole, Array)
    assert whole.values() == [0, 1, 2, 3, 4]


class Runs:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_foreign_names_are_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    with pytest.raises(SourceError, match=r"file\.pkl refers to posix\.mkdir, and only NumPy's arrays") as caught:
        read_pickle(dumped(tmp_path, [NEAR, Runs(made)], protocol=protocol))
    assert "\n" not in str(caught.value)
    assert not made.exists()


@pytest.mark.parametrize(
    "name", ["numpy.load", "numpy.core.multiarray.fromfile", "builtins.eval", "shardtools.cli.main"]
)
def test_names_beside_the_known_ones_are_refused(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "file.pkl"
    path.write_bytes(
        b"\x80\x04" + b"".join(b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, attribute)) + b"\x93."
    )
    with pytest.raises(SourceError, match=rf"refers to {name},"):
        read_pickle(path)


HUGE = 1 << 40
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"\x80\x04]r" + struct.pack("<I", 2**31) + b".", "a place 2147483648 among", id="memo"),
        pytest.param(b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"].", "is no pickle", id="frame"),
        pytest.param(b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + b"x.", "expected 1099511627776 bytes", id="text"),
        pytest.param(
            RECONSTRUCT + b"(" + NDARRAY + b"(L" + str(HUGE).encode() + b"L\ntU\x01bt\x52.",
            "a shape of its own",
            id="shape",
        ),
        pytest.param(
            NDARRAY + b"(L" + str(HUGE).encode() + b"L\nt\x52.", "a step that NumPy does not write", id="ndarray"
        ),
        pytest.param(
            RECONSTRUCT
            + b"("
            + NDARRAY
            + b"(I0\ntU\x01bt\x52(I1\n(L"
            + str(HUGE).encode()
            + b"L\nt"
            + DTYPE
            + b"(U\x02U9I0\nI1\nt\x52I00\nU\x02abtb.",
            "whose bytes are not those of 1099511627776 values",
            id="array",
        ),
        pytest.param(DTYPE + b"(U\x09(1000000,)t\x52.", "is no pickle of lists and arrays|expected", id="dtype"),
        pytest.param(b"\x80\x04\x96" + struct.pack("<Q", 1) + b"x.", "a step BYTEARRAY8", id="step"),
        pytest.param(b"\x80\x02\x82\x01.", "a step EXT1", id="extension"),
        pytest.param(b"Pname\n.", "a step PERSID", id="persistent"),
        pytest.param(b"\x80\x04](", "is no pickle of lists and arrays", id="truncated"),
        pytest.param(b"not a pickle", "is no pickle of lists and arrays", id="text file"),
        pytest.param(b"", "has 0 bytes", id="empty"),
        pytest.param(RECONSTRUCT + b"}U\x01aI1\nsb.", "is no pickle", id="changing a stand-in"),
    ],
)
def test_bombs_and_damage_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        found = read_pickle(path)
        # A type alone is no array yet: it is looked at when one is made of it.
        published_levels(path) if found is not None else None
    assert "\n" not in str(caught.value)


def test_the_same_images_under_many_names_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = {"train": ["a.JPEG"] * 10, "test": ["b.JPEG"] * 10}
    path = dumped(tmp_path, {f"n{number:08d}": shared for number in range(10)})
    assert sum(table.num_rows for table in published_parts(path)) == 200
    monkeypatch.setattr("shardtools.evaluation.cog.published_files._MAX_IMAGES", 150)
    with pytest.raises(SourceError, match="names more than 150 images"):
        list(published_parts(path))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected a list of levels"),
        ("levels", "holds str, expected a list of levels"),
        ([NEAR, ["dog"]], "level 2: expected wnids, found 'dog'"),
        ([NEAR, []], "level 2 is empty"),
        ([NEAR, np.arange(3)], "level 2: expected wnids, found '0'"),
    ],
)
def test_other_contents_are_no_levels(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        published_levels(dumped(tmp_path, value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([NEAR], "holds list, expected the images of train and test by wnid"),
        ({"dog": {}}, "found 'dog'"),
        ({NEAR[0]: {"train": ["a"]}}, "n01514752 has no list of paths under 'test'"),
        ({NEAR[0]: {"train": [1], "test": ["a"]}}, "n01514752 has no list of paths under 'train'"),
    ],
)
def test_other_contents_are_no_images(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(published_parts(dumped(tmp_path, value)))


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_pickle(tmp_path / "none.pkl")
