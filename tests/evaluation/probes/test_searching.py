"""The search for settings: the same trials however often it is killed, and a word to nobody."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shardtools.errors import DatasetError, FormatVersionError, OptionError, PlanMismatchError, RunError, StorageError
from shardtools.evaluation.probes import Best, Range, search

SPACE = {"rate": Range(low=0.1, high=100), "decay": Range(low=1e-12, high=1e-4)}


def objective(asked: Sequence[Mapping[str, float]]) -> list[float]:
    """Best at a rate of 3 and a decay of 1e-6, in either order of keys."""
    return [
        -((math.log10(one["rate"]) - 0.5) ** 2) - (math.log10(one["decay"]) + 6) ** 2 / 20 for one in map(dict, asked)
    ]


class KilledError(Exception):
    """Stands for a process that ends."""


def killed_at(number: int) -> Callable[[Sequence[Mapping[str, float]]], list[float]]:
    """The objective, ended while it evaluates a trial; counted from this start."""
    left = [number]

    def one(asked: Sequence[Mapping[str, float]]) -> list[float]:
        if left[0] < len(asked):
            raise KilledError
        left[0] -= len(asked)
        return objective(asked)

    return one


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Best]:
    """Batch -> what a search finds that nobody kills; the last batch of 5 is short."""
    folder = tmp_path_factory.mktemp("unkilled")
    return {
        batch: search(objective, SPACE, num_trials=12, batch=batch, seed=22, journal=folder / f"{batch}.json")
        for batch in (1, 5)
    }


@given(kills=st.lists(st.integers(0, 11), min_size=1, max_size=2), batch=st.sampled_from([1, 5]))
@hypothesis_settings(max_examples=8)
def test_a_killed_search_has_the_trials_of_one_that_was_not(
    unkilled: dict[int, Best], tmp_path_factory: pytest.TempPathFactory, kills: list[int], batch: int
) -> None:
    journal = tmp_path_factory.mktemp("killed") / "search.json"
    for number in kills:
        try:
            search(killed_at(number), SPACE, num_trials=12, batch=batch, seed=22, journal=journal)
        except KilledError:
            continue
    found = search(objective, SPACE, num_trials=12, batch=batch, seed=22, journal=journal)
    assert found == unkilled[batch]
    assert [one.number for one in found.trials] == list(range(12))


def test_batches_are_as_long_as_asked(tmp_path: Path) -> None:
    lengths: list[int] = []

    def one(asked: Sequence[Mapping[str, float]]) -> list[float]:
        lengths.append(len(asked))
        return objective(asked)

    search(one, SPACE, num_trials=7, batch=3, seed=1, journal=tmp_path / "three.json")
    search(one, SPACE, num_trials=2, batch=1, seed=1, journal=tmp_path / "faithful.json")
    assert lengths == [3, 3, 1, 1, 1]


def test_trials_are_in_range_and_the_best_is_the_best(unkilled: dict[int, Best]) -> None:
    for best in unkilled.values():
        assert best.value == max(one.value for one in best.trials if one.value is not None)
        assert best.trials[best.number].settings == best.settings
        assert objective([best.settings]) == [best.value]
        for one in best.trials:
            assert 0.1 <= one.settings["rate"] <= 100 and 1e-12 <= one.settings["decay"] <= 1e-4
        assert len({one.settings["rate"] for one in best.trials}) == 12


def test_it_learns_from_what_it_was_told(tmp_path: Path, unkilled: dict[int, Best]) -> None:
    """The first ten are drawn at random, whatever they come to; then the values count."""

    def turned(asked: Sequence[Mapping[str, float]]) -> list[float]:
        return [-value for value in objective(asked)]

    other = search(turned, SPACE, num_trials=12, batch=1, seed=22, journal=tmp_path / "a.json").trials
    settings = [(one.settings, than.settings) for one, than in zip(other, unkilled[1].trials, strict=True)]
    assert [one == than for one, than in settings] == [True] * 10 + [False] * 2


def test_the_liar_keeps_trials_of_a_batch_apart(tmp_path: Path) -> None:
    def nearest(liar: bool) -> float:
        trials = search(
            objective, SPACE, num_trials=24, batch=12, seed=5, constant_liar=liar, journal=tmp_path / f"{liar}.json"
        ).trials[12:]
        places = [(math.log10(one.settings["rate"]) / 3, math.log10(one.settings["decay"]) / 8) for one in trials]
        distances = [min(math.dist(one, other) for other in places if other is not one) for one in places]
        return sum(distances) / len(distances)

    assert nearest(True) > 1.2 * nearest(False)


def test_alone_in_its_batch_a_trial_meets_no_liar(tmp_path: Path, unkilled: dict[int, Best]) -> None:
    found = search(objective, SPACE, num_trials=12, batch=1, seed=22, constant_liar=False, journal=tmp_path / "a.json")
    assert found == unkilled[1]


def test_settings_are_drawn_together_or_alone(tmp_path: Path, unkilled: dict[int, Best]) -> None:
    alone = search(
        *(objective, SPACE),
        **{"num_trials": 12, "batch": 1, "seed": 22, "multivariate": False, "group": False},
        journal=tmp_path / "a.json",
    )
    assert alone.trials[:10] == unkilled[1].trials[:10] and alone.trials[10:] != unkilled[1].trials[10:]


def test_the_order_of_the_space_is_nothing(tmp_path: Path, unkilled: dict[int, Best]) -> None:
    turned = dict(reversed(SPACE.items()))
    found = search(objective, turned, num_trials=12, batch=5, seed=22, journal=tmp_path / "a.json")
    assert found == unkilled[5]


def test_a_finished_search_is_read_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"num_trials": 4, "batch": 2, "seed": 1, "journal": tmp_path / "new" / "a.json"}
    first = search(objective, SPACE, **asked)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search(killed_at(0), SPACE, **asked) == first
    with pytest.raises(RunError, match="a search for settings needs optuna, which is not installed: pip install"):
        search(objective, SPACE, **{**asked, "journal": tmp_path / "b.json"})


def test_a_trial_may_fail(tmp_path: Path) -> None:
    def failing(asked: Sequence[Mapping[str, float]]) -> list[float]:
        return [value if one["rate"] < 10 else math.nan for one, value in zip(asked, objective(asked), strict=True)]

    found = search(failing, SPACE, num_trials=13, batch=13, seed=2, journal=tmp_path / "a.json")
    failed = [one for one in found.trials if one.value is None]
    assert failed and all(one.settings["rate"] >= 10 for one in failed) and found.settings["rate"] < 10
    with pytest.raises(RunError, match="2 trials and none with a finite value"):
        search(lambda asked: [math.inf] * len(asked), SPACE, num_trials=2, seed=2, journal=tmp_path / "b.json")


def test_optuna_says_nothing_and_is_left_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    search(objective, SPACE, num_trials=12, batch=4, seed=2, journal=tmp_path / "a.json")
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"seed": 2}, PlanMismatchError, "a search with seed 1, asked for 2: ask as before"),
        ({"batch": 1}, PlanMismatchError, "with batch 2, asked for 1"),
        ({"num_trials": 5}, PlanMismatchError, "with num_trials 4, asked for 5"),
        ({"space": {"rate": SPACE["rate"]}}, PlanMismatchError, "a search with space"),
        ({"journal": "cut"}, DatasetError, "is not the journal of a search: remove it"),
        ({"journal": "numbers"}, DatasetError, "not numbered from 0"),
        ({"journal": "later"}, FormatVersionError, "format shardtools-search version 2"),
        ({"journal": "folder/"}, StorageError, "a journal is a file"),
        ({"num_trials": 0}, OptionError, "num_trials is at least 1, found 0"),
        ({"batch": 0}, OptionError, "batch is at least 1"),
        ({"seed": -1}, OptionError, "seed is at least 0"),
        ({"space": {}}, OptionError, "at least one setting"),
        ({"multivariate": False}, OptionError, "group=True"),
        ({"objective": lambda asked: [1.0], "journal": "new"}, OptionError, "2 here, found 1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict, error: type[Exception], match: str) -> None:
    asked = {"objective": objective, "space": SPACE, "num_trials": 4, "batch": 2, "seed": 1, "journal": "there"}
    journal = tmp_path / "there"
    search(**{**asked, "journal": journal})
    (tmp_path / "cut").write_bytes(journal.read_bytes()[:-20])
    content = json.loads(journal.read_text())
    (tmp_path / "numbers").write_text(json.dumps({**content, "trials": content["trials"][1:]}))
    (tmp_path / "later").write_text(json.dumps({**content, "format_version": 2}))
    given = {**asked, **changes}
    with pytest.raises(error, match=match) as found:
        search(**{**given, "journal": f"{tmp_path}/{given['journal']}"})
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("ends", "match"),
    [
        ({"low": 1.0, "high": 1.0}, "the lower first, found 1.0 to 1.0"),
        ({"low": 0.0, "high": 1.0}, "begins above 0"),
        ({"low": 1.0, "high": math.inf}, "finite"),
    ],
)
def test_a_range_has_two_ends(ends: dict, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        Range(**ends)


def test_a_range_of_differences_may_begin_below_zero(tmp_path: Path) -> None:
    space = {"x": Range(low=-1.0, high=1.0, log=False)}
    found = search(
        lambda asked: [-(one["x"] ** 2) for one in asked], space, num_trials=15, seed=1, journal=tmp_path / "a.json"
    )
    assert abs(found.settings["x"]) < 0.1 and min(one.settings["x"] for one in found.trials) < 0
