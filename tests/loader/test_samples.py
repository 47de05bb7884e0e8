"""Which samples a loader delivers: of views, by weight, mixed, and others in place of bad ones."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import ShardError
from shardtools.loader import Loader, MixOptions, OrderOptions
from shardtools.loader.reading.options import ReadOptions
from tests.helpers.loader_datasets import (
    NUM_CLASSES,
    NUM_PHOTOS,
    Delivered,
    deliver,
    epoch,
    options,
    photos,
    same,
    source,
    tar,
    whole,
    write,
)
from tests.loader.test_threads import no_threads_left

__all__ = ["source", "tar", "whole"]


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
        passes = loader.passes(1)
    # The small one was seen nearly twice and a half in each epoch.
    assert [(found.start, found.end) for found in passes] == [(1, 2), (2.45, 4.9)]
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
