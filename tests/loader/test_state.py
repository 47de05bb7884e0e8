"""The state of a loader, and the ledger: every key exactly once an epoch, whoever stops when and goes on with whom."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import FormatVersionError, OptionError, PlanMismatchError, ShardtoolsError
from shardtools.loader import (
    BatchPlan,
    CropOptions,
    EpochOrder,
    EpochSequence,
    LoaderState,
    MixOptions,
    Mixture,
    OrderOptions,
    dino_multi_crop,
    flat_options,
    resume,
)

WORLD_SIZES = (1, 2, 3, 8)
NUM_ROWS = 157
SHARD_STARTS = np.append(np.arange(0, NUM_ROWS, 10), NUM_ROWS)
SOURCE_STARTS = np.array([0, 100, NUM_ROWS])

SEQUENCES: dict[str, Callable[[int], EpochSequence]] = {
    "global": lambda epoch: EpochOrder(OrderOptions(seed=5), epoch=epoch, num_samples=NUM_ROWS),
    "none": lambda epoch: EpochOrder(OrderOptions(shuffle="none"), epoch=epoch, num_samples=NUM_ROWS),
    "blocks": lambda epoch: EpochOrder(
        OrderOptions(shuffle="blocks", block_size=32, piece_size=7),
        epoch=epoch,
        num_samples=NUM_ROWS,
        shard_starts=SHARD_STARTS,
    ),
    "mixture": lambda epoch: Mixture(
        MixOptions(ratio=(2, 1)), OrderOptions(seed=5), epoch=epoch, source_starts=SOURCE_STARTS
    ),
}


def begin(kind: str, epoch: int = 0, **options: Any) -> LoaderState:
    return LoaderState(
        seed=5,
        epoch=epoch,
        num_delivered=0,
        num_positions=SEQUENCES[kind](epoch).num_positions,
        num_rows=NUM_ROWS,
        table_digest="0123456789abcdef",
        options=flat_options(kind=kind, **options),
    )


def run(kind: str, state: LoaderState, batch_size: int, world_size: int, last: str, num_steps: int) -> dict[str, Any]:
    """What a job delivers that is stopped after `num_steps`: rows in order of steps and ranks, and its state."""
    sequence = SEQUENCES[kind](state.epoch)
    plan = BatchPlan(
        num_positions=sequence.num_positions,
        batch_size=batch_size,
        world_size=world_size,
        last=last,
        start=state.num_delivered,
    )
    num_steps = min(num_steps, plan.num_steps)
    rows: list[int] = []
    repeated: list[int] = []
    for step in range(num_steps):
        for rank in range(world_size):
            share = plan.batch_positions(step, rank)
            found = sequence.rows(share.positions).tolist()
            rows += found[: len(found) - share.num_repeated]
            repeated += found[len(found) - share.num_repeated :]
    return {"rows": rows, "repeated": repeated, "state": state.advanced(plan.delivered(num_steps))}


@given(
    kind=st.sampled_from(sorted(SEQUENCES)),
    jobs=st.lists(
        st.tuples(
            st.integers(1, 9), st.sampled_from(WORLD_SIZES), st.sampled_from(["pad", "short"]), st.integers(0, 6)
        ),
        max_size=12,
    ),
    finish=st.tuples(st.integers(1, 20), st.sampled_from(WORLD_SIZES), st.sampled_from(["pad", "short"])),
    num_epochs=st.integers(1, 2),
)
@settings(max_examples=150)
def test_ledger_of_stops_and_world_sizes(
    kind: str, jobs: list[tuple[int, int, str, int]], finish: tuple[int, int, str], num_epochs: int
) -> None:
    """Jobs of any size that each stop somewhere, and one that finishes, deliver the epoch's sequence, in its order."""
    for epoch in range(num_epochs):
        state = begin(kind, epoch)
        ledger: list[int] = []
        for batch_size, world_size, last, num_steps in [*jobs, (*finish, 10**6)]:
            if state.is_finished:
                break
            # The state goes through its text, as between processes, and is checked by the job that goes on.
            state = resume(LoaderState.from_json(state.to_json()), begin(kind, epoch))
            outcome = run(kind, state, batch_size, world_size, last, num_steps)
            ledger += outcome["rows"]
            state = outcome["state"]
            assert set(outcome["repeated"]) <= set(range(NUM_ROWS))

        sequence = SEQUENCES[kind](epoch)
        assert state.is_finished
        assert ledger == sequence.rows(np.arange(sequence.num_positions)).tolist()
        counts = Counter(ledger)
        if kind == "mixture":
            assert all(counts[row] == 1 for row in range(100)), "the source that defines the epoch"
        else:
            assert counts == Counter(range(NUM_ROWS))


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_any_number_of_ranks_delivers_the_same_steps(world_size: int) -> None:
    alone = run("global", begin("global"), 24, 1, "pad", 10**6)
    shared = run("global", begin("global"), 24 // world_size, world_size, "pad", 10**6)

    assert alone == shared
    assert len(alone["repeated"]) == 7 * 24 - NUM_ROWS


def test_dropping_says_what_it_drops() -> None:
    sequence = SEQUENCES["global"](0)
    outcome = run("global", begin("global"), 8, 3, "drop", 10**6)
    plan = BatchPlan(num_positions=NUM_ROWS, batch_size=8, world_size=3, last="drop")

    assert sorted(outcome["rows"] + sequence.rows(plan.dropped).tolist()) == list(range(NUM_ROWS))
    assert not outcome["state"].is_finished, "a smaller batch could still deliver the rest"


def test_a_finished_epoch_goes_on_with_the_next() -> None:
    state = begin("global").advanced(NUM_ROWS)

    assert resume(state, begin("global")) == begin("global", epoch=1)
    assert resume(state.advanced(NUM_ROWS - 1), begin("global")).num_delivered == NUM_ROWS - 1


def test_the_state_is_small_and_plain() -> None:
    state = begin("global", crop=dino_multi_crop(), order=OrderOptions())
    text = state.to_json()

    assert len(text) < 2500
    assert "\n" not in text
    assert LoaderState.from_json(text) == state
    assert LoaderState.from_json(text.encode()) == state
    assert LoaderState.from_json(text).to_json() == text
    assert json.loads(text)["options"]["crop.global_crop.color_jitter.hue"] == 0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 6}, "a loader with seed 5, found 6"),
        (
            {"table_digest": "f" * 16},
            "of another table: expected 157 rows with digest 0123456789abcdef, found 157 rows",
        ),
        ({"table_digest": "f" * 16, "num_rows": 99}, "found 99 rows with digest ffffffffffffffff"),
        ({"options": {"kind": "blocks", "crop.size": 224}}, "kind 'global', found 'blocks'"),
        ({"options": {"kind": "global", "crop.size": 192}}, r"crop.size 224, found 192: take 224, or start anew"),
        ({"options": {"kind": "global"}}, r"crop.size 224, found None"),
        ({"options": {"kind": "global", "crop.size": 224, "extra": 1}}, "extra None, found 1"),
        ({"num_positions": 12}, "num_positions 157, found 12"),
    ],
)
def test_another_table_or_option_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    fields = {name: getattr(begin("global"), name) for name in LoaderState.__slots__}
    fields["options"] = {"kind": "global", "crop.size": 224}

    with pytest.raises(PlanMismatchError, match=words) as caught:
        resume(LoaderState(**fields), LoaderState(**{**fields, **change}))
    assert "\n" not in str(caught.value)


GOOD = json.loads(begin("global").to_json())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected the state of a loader"),
        ("[]", "expected the state of a loader"),
        ("3", "expected the state of a loader"),
        ("{}", "expected the state of a loader"),
        ("[" * 100_000, "expected the state of a loader"),
        ({**GOOD, "seed": "5"}, 'seed is a whole number, found "5"'),
        ({**GOOD, "seed": True}, "seed is a whole number, found true"),
        ({**GOOD, "epoch": -1}, "wrong value of epoch"),
        ({**GOOD, "num_delivered": 158}, "wrong value of num_delivered"),
        ({**GOOD, "num_delivered": -1}, "wrong value of num_delivered"),
        ({**GOOD, "num_rows": 0}, "wrong value of num_rows"),
        ({**GOOD, "more": 0}, "more is unknown"),
        ({name: value for name, value in GOOD.items() if name != "options"}, "options is missing"),
    ],
)
def test_what_is_no_state_is_refused(content: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        LoaderState.from_json(content if isinstance(content, str) else json.dumps(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_refused(version: Any) -> None:
    with pytest.raises(FormatVersionError, match="this release reads 1"):
        LoaderState.from_json(json.dumps({**GOOD, "version": version}))


@given(position=st.integers(0, 200), byte=st.integers(0, 255))
@settings(max_examples=150)
def test_a_state_with_a_changed_byte_is_read_or_refused(position: int, byte: int) -> None:
    content = bytearray(begin("global").to_json().encode())
    content[position % len(content)] = byte

    try:
        state = LoaderState.from_json(bytes(content))
    except ShardtoolsError as error:
        assert "\n" not in str(error)
    else:
        assert 0 <= state.num_delivered <= state.num_positions


def test_sizes_of_blocks_matter_to_blocks_only() -> None:
    """Also those that a release wrote whose default was a number."""
    for shuffle in ("global", "none"):
        before = begin("global", order=OrderOptions(seed=5, shuffle=shuffle, block_size=16_384))
        assert resume(before, begin("global", order=OrderOptions(seed=5, shuffle=shuffle))) == before
    before = begin("blocks", order=OrderOptions(seed=5, shuffle="blocks", block_size=32))
    with pytest.raises(PlanMismatchError, match=r"with order\.block_size 32, found 40: take 32"):
        resume(before, begin("blocks", order=OrderOptions(seed=5, shuffle="blocks", block_size=40)))


def test_options_become_plain_values() -> None:
    assert flat_options(crop=CropOptions(size=224), order=OrderOptions(seed=3), views=(1, (2, 3)), none=None) == {
        "crop.size": 224,
        "crop.scale.0": 0.08,
        "crop.scale.1": 1.0,
        "crop.ratio.0": 0.75,
        "crop.ratio.1": 4 / 3,
        "crop.interpolation": "bilinear",
        "crop.flip_probability": 0.5,
        "crop.color_jitter": None,
        "crop.grayscale_probability": 0.0,
        "crop.blur_probability": 0.0,
        "crop.blur_radius.0": 0.1,
        "crop.blur_radius.1": 2.0,
        "crop.solarize_probability": 0.0,
        "order.seed": 3,
        "order.shuffle": "global",
        "order.block_size": None,
        "order.piece_size": None,
        "order.num_draws": None,
        "views.0": 1,
        "views.1.0": 2,
        "views.1.1": 3,
        "none": None,
    }
    with pytest.raises(OptionError, match="option path is a plain value, found object"):
        flat_options(path=object())
