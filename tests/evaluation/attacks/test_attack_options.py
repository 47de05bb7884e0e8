from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from shardtools.errors import OptionError
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.attacks import DEFAULTS, FIXED, AttackOptions, AttackSettings, attack_settings, radius_text
from shardtools.evaluation.attacks.options import fraction


def options(**given: Any) -> AttackOptions:
    return AttackOptions(dataset="photos", model=ModelOptions(model="lite0"), **given)


def test_each_attack_has_its_published_values() -> None:
    seed = attack_settings("pgd-seed")
    assert (seed.eps, seed.step, seed.num_steps, seed.target) == (0.06, 2 / 255, 10, "random")
    assert (seed.restarts, seed.loss, seed.random_start, seed.early_stop) == (1, "ce", True, True)
    assert attack_settings("fgsm", eps=0.1).step == 0.1
    assert attack_settings("apgd", eps=0.1).step == 0.2
    assert attack_settings("apgd").losses == ("ce", "dlr")
    assert attack_settings("pgd", eps=0.1).step == 0.025
    assert attack_settings("pgd", eps=0.1, step=0.5).step == 0.5
    # The seed's step does not follow the radius.
    assert attack_settings("pgd-seed", eps=0.1).step == 2 / 255
    assert set(FIXED) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"attack": "cw"}, "one of pgd-seed, pgd, fgsm, apgd, found 'cw'"),
        ({"eps": 0.0}, "eps of an attack is above 0 and at most 1"),
        ({"eps": 8.0}, "found 8.0: divide by 255"),
        ({"eps": float("nan")}, "found nan"),
        ({"step": -0.1}, "step of an attack is above 0"),
        ({"num_steps": 0}, "num_steps of an attack is 1 to 10000, found 0"),
        ({"restarts": 0}, "restarts of an attack"),
        ({"seed": -1}, "seed of an attack"),
        ({"target": "least"}, "target of an attack is one of none, random, likely, found 'least'"),
        ({"loss": "cw"}, "loss of an attack is one of ce, dlr"),
        ({"attack": "fgsm", "num_steps": 2}, "fgsm has no num steps to choose, for it takes one step: leave it out"),
        ({"attack": "apgd", "step": 0.1}, "apgd has no step to choose"),
        ({"attack": "pgd-seed", "restarts": 5}, "pgd-seed has no restarts to choose, for it starts once"),
    ],
)
def test_what_an_attack_does_not_have_is_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError, match=line):
        attack_settings(**{"attack": "pgd", **given})


def test_radii_are_typed_as_they_are_published() -> None:
    assert fraction("4/255", "--eps") == 4 / 255
    # As published figures are named: RobustBench's, the testbed's, seed 001's.
    assert [radius_text(eps) for eps in (4 / 255, 0.5 / 255, 0.06)] == ["linf 4/255", "linf 0.5/255", "linf 0.06"]
    assert options(eps="0.06").settings().eps == 0.06
    for text in ("4/0", "four", "", "1/2/3", "inf"):
        with pytest.raises(OptionError, match="--eps is a number like"):
            options(eps=text)


def test_an_attack_by_another_model_takes_all_steps() -> None:
    assert options().settings().early_stop
    assert not options(full=True).settings().early_stop
    assert not options(source="lite1").settings().early_stop
    assert options(source="lite1", attack="pgd-seed").settings().early_stop
    assert options(source="lite1").overlay_name == "attacked_lite0_lite1_pgd"
    assert options(attack="pgd-seed").overlay_name == "attacked_lite0_pgd_seed"
    assert (options(attack="pgd-seed").stride, options().stride, options(every=9, attack="pgd-seed").stride) == (
        2,
        1,
        9,
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"every": 0}, "--every is at least 1, found 0"),
        ({"source_weights": "w.pt"}, "give --source MODEL"),
        ({"out": "photos/"}, "--out is another dataset"),
        ({"name": "Bad Name"}, "an overlay's name"),
        ({"threads": 0}, "threads is at least 1"),
        ({"attack": "nothing"}, "--attack is one of"),
    ],
)
def test_options_that_contradict_are_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError, match=line):
        options(**given)


def test_settings_are_plain_values() -> None:
    settings = attack_settings("apgd", target="likely", restarts=9)
    assert AttackSettings(**settings.to_json()) == settings
    assert settings.to_json() == asdict(settings)
