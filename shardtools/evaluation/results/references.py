"""The registry of shipped figures of others.

Owns which there are; `publications/` has what each becomes. Names of test sets are as our own runs have them, shares
are 0 to 1 instead of percent, and `protocol` says what is particular. `split` is empty for a whole test set. What can
be recomputed of published counts and accuracies is, there, by the functions that own runs go through; the rest is
restated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shardtools.errors import OptionError
from shardtools.evaluation.results.publications import (
    cog_rows,
    cue_conflict_rows,
    imagenet_sd_rows,
    imagenet_x_rows,
    linf_rows,
    robustbench_rows,
    robustness_rows,
    seed001_rows,
    seed002_rows,
    testbed_rows,
    timm_rows,
    trex_rows,
)
from shardtools.evaluation.results.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A set of published figures.

    Attributes:
        what: One line on the figures.
        rows: Gives them.
    """

    what: str
    rows: Callable[[], Iterator[Result]]


REFERENCES: dict[str, Reference] = {
    "seed001": Reference(
        what="27 networks on A, Sketch, cue conflict and attacked (E. Orhan, 2020)", rows=seed001_rows
    ),
    "robustbench": Reference(what="12 networks on ImageNet-C, by severity", rows=robustbench_rows),
    "robustness": Reference(what="ResNet-50 on ImageNet-C and -P, by their authors", rows=robustness_rows),
    "linf": Reference(what="30 networks under AutoAttack at 4/255 (RobustBench)", rows=linf_rows),
    "testbed": Reference(what="335 networks on 14 sets (Taori et al., 2020)", rows=testbed_rows),
    "timm": Reference(what="how accuracies of 1,556 networks go together", rows=timm_rows),
    "imagenet-x": Reference(what="four networks: calibration; ResNet-50 by factor", rows=imagenet_x_rows),
    "cue-conflict": Reference(
        what="shape bias of 11 networks and ten people (Geirhos et al., 2019)", rows=cue_conflict_rows
    ),
    "seed002": Reference(
        what="gaps of 11 networks by factor, linear and fine-tuned (Ibrahim et al., 2023)", rows=seed002_rows
    ),
    "cog": Reference(
        what="31 networks on ImageNet and CoG's five levels, also few-shot (thesis, tables B)",
        rows=cog_rows,
    ),
    "trex": Reference(
        what="21 networks: ImageNet, 13 transfer sets, log odds (thesis, D.1, 4.1 to 4.3)",
        rows=trex_rows,
    ),
    "imagenet-sd": Reference(
        what="21 networks trained on real or generated pictures (thesis, 5.1 to 5.4)",
        rows=imagenet_sd_rows,
    ),
}
"""Name -> figures, in the order of `REFERENCE_NAMES`."""


def reference_results(name: str) -> list[Result]:
    """The rows of a shipped set of figures.

    Raises:
        OptionError: There is none of that name.
    """
    if name not in REFERENCES:
        raise OptionError(f"--reference is one of {', '.join(REFERENCES)}, found {name!r}")
    return list(REFERENCES[name].rows())
