"""What an attack does, as numbers: size of the ball, steps, restarts, aim, losses; and each attack's own values.

Owns the four attacks as data. They are one procedure with parameters changed, so a published protocol is a line of
`DEFAULTS`; the price is that a parameter which an attack does not have must be refused where it is given
(`FIXED`). What carries them out is `shardtools.pipelines.evaluate.attacks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from shardtools.errors import OptionError

TARGETS = ("none", "random", "likely")
LOSSES = ("ce", "dlr", "ce+dlr")
MAX_STEPS = 10_000
MAX_RESTARTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSettings:
    """One attack, in the maximum norm.

    Attributes:
        attack: Name in `DEFAULTS`.
        eps: Radius of the ball, in pixel values of 0 to 1.
        step: Length of a step, in pixel values of 0 to 1; the first step's where the attack chooses its own.
        num_steps: Gradients that one restart takes.
        restarts: How often it begins anew with the images that withstood.
        target: "none": any class but the label will do. "random": a class that is drawn for the image, uniformly among
            those that are not the label, and only that one counts. "likely": restart r aims at the (r + 1)-th likeliest
            class that is not the label, and any class but the label counts (Croce and Hein 2020, section 5).
        loss: "ce", "dlr", or "ce+dlr" for the second on what withstood the first.
        random_start: Whether a restart begins anywhere in the ball instead of at the image.
        early_stop: Whether an image is left alone as soon as it is wrong; else all steps are taken, and the last one's
            image (APGD: the one of the highest loss) is the result.
        seed: Of starts and targets, together with the sample's key.

    Raises:
        OptionError: A value is out of range.
    """

    attack: str
    eps: float
    step: float
    num_steps: int
    restarts: int = 1
    target: str = "none"
    loss: str = "ce"
    random_start: bool = True
    early_stop: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        # The order of the comparisons refuses NaN too.
        for name, low, high in (("num_steps", 1, MAX_STEPS), ("restarts", 1, MAX_RESTARTS), ("seed", 0, 2**63 - 1)):
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name} of an attack is {low} to {high}, found {getattr(self, name)}")
        for name in ("eps", "step"):
            if not 0 < getattr(self, name) <= 1:
                raise OptionError(
                    f"{name} of an attack is above 0 and at most 1, of pixel values from 0 to 1, found "
                    f"{getattr(self, name)}: divide by 255 what is given for values up to 255"
                )
        for name, value, known in (
            ("attack", self.attack, tuple(DEFAULTS)),
            ("target", self.target, TARGETS),
            ("loss", self.loss, LOSSES),
        ):
            if value not in known:
                raise OptionError(f"{name} of an attack is one of {', '.join(known)}, found {value!r}")

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses, in the order in which they are tried."""
        return tuple(self.loss.split("+"))

    def to_json(self) -> dict[str, Any]:
        """Names and values, as an overlay's settings keep them."""
        return asdict(self)


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # Seed 001 (eminorhan/ood-benchmarks, evaluate_whitebox.py): foolbox 1.8's projected gradient descent with a target.
    "pgd-seed": {"eps": 0.06, "step": 2 / 255, "num_steps": 10, "target": "random"},
    # Madry et al. 2018, section 2.1; RobustBench's radius for ImageNet, and a quarter of it a step.
    "pgd": {"eps": 4 / 255, "step": 1 / 255, "num_steps": 10},
    # Goodfellow et al. 2015, section 4.
    "fgsm": {"eps": 4 / 255, "step": 4 / 255, "num_steps": 1, "random_start": False},
    # Croce and Hein 2020, sections 3 and 6: a first step of twice the radius, 100 iterations.
    "apgd": {"eps": 4 / 255, "step": 8 / 255, "num_steps": 100, "loss": "ce+dlr"},
}
"""Attack -> its own values."""

FIXED: Mapping[str, Mapping[str, str]] = {
    "pgd-seed": {
        "target": "it aims at a random class",
        "loss": "it takes the cross-entropy",
        "restarts": "it starts once",
        "early_stop": "it ends with the target",
    },
    "pgd": {},
    "fgsm": {
        "step": "its one step is as long as eps",
        "num_steps": "it takes one step",
        "restarts": "it starts at the image",
    },
    "apgd": {"step": "it chooses its steps"},
}
"""Attack -> parameter that it does not have -> why."""


def attack_settings(attack: str, **given: Any) -> AttackSettings:
    """The settings of an attack, with what was given in place of its own values.

    Args:
        attack: Name in `DEFAULTS`.
        given: Other fields of `AttackSettings`; `None` leaves a field at the attack's own value.

    Raises:
        OptionError: There is no such attack, it has no such parameter, or a value is out of range.
    """
    if attack not in DEFAULTS:
        raise OptionError(f"an attack is one of {', '.join(DEFAULTS)}, found {attack!r}")
    chosen = {name: value for name, value in given.items() if value is not None}
    own = AttackSettings(attack=attack, **DEFAULTS[attack])
    for name, why in FIXED[attack].items():
        if name in chosen and chosen[name] != getattr(own, name):
            raise OptionError(
                f"{attack} has no {name.replace('_', ' ')} to choose, for {why}: leave it out, or take pgd"
            )
    settings = replace(own, **chosen)
    if attack in _STEP_OF_EPS and "step" not in chosen:
        return replace(settings, step=min(1.0, settings.eps * _STEP_OF_EPS[attack]))
    return settings


_STEP_OF_EPS = {"pgd": 1 / 4, "fgsm": 1.0, "apgd": 2.0}
"""Attack -> its step where the radius is another: pgd-seed's is 2/255 for every radius."""
