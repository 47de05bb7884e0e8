"""The loader from datasets to batches: one order for any layout, rank, thread and restart."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError, PlanMismatchError
from shardtools.loader import Loader, LoaderOptions, LoaderState, MixOptions, OrderOptions, dino_multi_crop
from tests.helpers.loader_datasets import (
    LAYOUTS,
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

__all__ = ["source", "tar", "whole"]


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
        (options(tar, crop=dino_multi_crop((0.25, 1.0))), r"crop.global_crop.scale.0 0.4, found 0.25"),
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


# ---- options ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": "folder"}, "datasets is a tuple of folders"),
        ({"datasets": ()}, "datasets is a tuple of folders"),
        ({"split": "train", "view": "select 1"}, "a view chooses its own samples"),
        ({"view_parameters": {"side": 200}}, "view_parameters are for the SQL of a view, found none: give view"),
        ({"table_cache": "folder"}, "table_cache keeps the table of a split, found none"),
        (
            {"mix": MixOptions(ratio=(1,)), "order": OrderOptions(shuffle="weighted", num_draws=5)},
            "a mixture has its own length, found order.num_draws too",
        ),
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


def test_a_split_is_read_alone(tar: str, tmp_path: Path) -> None:
    with Loader(options(tar, split="train", table_cache=str(tmp_path / "cache"))) as loader:
        first = deliver(loader.epoch(0))
    with Loader(options(tar, split="train", table_cache=str(tmp_path / "cache"))) as loader:
        assert same(deliver(loader.epoch(0)), first)
    with pytest.raises(OptionError, match="has no split 'val': it has train"):
        Loader(options(tar, split="val"))
