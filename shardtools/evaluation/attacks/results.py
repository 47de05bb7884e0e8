"""The figure of an attack as a row of results, named as published ones are, so that they stand in one column.

Owns the names: the radius is the split ("linf 4/255"), everything else about the attack the protocol. The price: two
attacks of one radius share a column of a table and are told apart by their protocol alone.
"""

from __future__ import annotations

from shardtools.evaluation.attacks.options import AttackOptions, AttackResult
from shardtools.evaluation.metrics import wilson_interval
from shardtools.evaluation.results import Result


def attack_result(options: AttackOptions, result: AttackResult, *, dataset: str) -> Result:
    """Accuracy under attack, with an interval of 95 %.

    Args:
        options: What was asked for.
        result: What it came to, of at least one image.
        dataset: Name of the set, as other figures have it: "imagenet".

    Raises:
        OptionError: No image was attacked.
    """
    settings = options.settings()
    low, high = wilson_interval(round(result.accuracy * result.num_attacked), result.num_attacked)
    by = "" if options.source is None else f", made with {result.source}"
    return Result(
        study="ood",
        model=options.model.model,
        dataset=dataset,
        split=radius_text(settings.eps),
        protocol=f"{result.attack}{by}, {result.num_attacked} images",
        metric="adversarial_accuracy",
        value=result.accuracy,
        seed=settings.seed,
        low=low,
        high=high,
        source=result.url,
    )


def radius_text(eps: float) -> str:
    """A radius as publications write it: "linf 4/255", "linf 0.06"."""
    levels = eps * 255
    is_round = abs(2 * levels - round(2 * levels)) < 1e-6
    return f"linf {round(2 * levels) / 2:g}/255" if is_round else f"linf {eps:g}"
