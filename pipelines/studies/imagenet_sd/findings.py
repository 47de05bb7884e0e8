"""What the thesis found in chapter 5, beside what this study found: by how many points, and whether seeds can tell.

Owns the comparisons. Each is between two trainings of the same seed, so what both share cancels out. A verdict is given
only where Student's interval of the mean difference leaves zero out: that the signs of three seeds agree happens by
chance a quarter of the time. The price: with few seeds most rows are open. The thesis's differences are of single runs
and are taken as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardtools.pipelines.studies.student import student_interval

PLAIN, CROPS = "plain", "multi-crop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a model was trained on; photographs where `prompt_template` is `None`."""

    prompt_template: str | None = None
    guidance: float | None = None
    scale: int = 1
    augmentation: str = CROPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference of two rows of the thesis's tables 5.1 and 5.2, in points of top-1 on ImageNet-100.

    Attributes:
        text: What is compared.
        thesis: By how much `better` was above `worse`.
        better: First model.
        worse: Second model.
    """

    text: str
    thesis: float
    better: Trained
    worse: Trained


def _guidance(prompt_template: str, thesis: float) -> Finding:
    return Finding(
        text=f"guidance 2 over 7.5, `{prompt_template}`",
        thesis=thesis,
        better=Trained(prompt_template=prompt_template, guidance=2.0),
        worse=Trained(prompt_template=prompt_template, guidance=7.5),
    )


def _prompt(prompt_template: str, guidance: float, thesis: float) -> Finding:
    return Finding(
        text=f"`{prompt_template}` over `c`, guidance {guidance:g}",
        thesis=thesis,
        better=Trained(prompt_template=prompt_template, guidance=guidance),
        worse=Trained(prompt_template="c", guidance=guidance),
    )


_NAME = Trained(prompt_template="c", guidance=7.5)
_ONE_CLONE = Trained(prompt_template="c, d_c", guidance=2.0)
_TEN_CLONES = Trained(prompt_template="c, d_c", guidance=2.0, scale=10)

FINDINGS = (
    _guidance("c", 20.4),
    _guidance("c, h_c", 16.5),
    _guidance("c, d_c", 16.9),
    _guidance("c, h_c inside b", 11.6),
    _prompt("c, h_c", 7.5, 3.8),
    _prompt("c, d_c", 7.5, 4.8),
    _prompt("c, h_c inside b", 7.5, 8.4),
    _prompt("c, d_c", 2.0, 1.3),
    Finding(text="10 clones over 1, `c, d_c`, guidance 2", thesis=7.6, better=_TEN_CLONES, worse=_ONE_CLONE),
    Finding(
        text="multi-crop over plain, generated with `c`, guidance 7.5",
        thesis=14.7,
        better=_NAME,
        worse=Trained(prompt_template="c", guidance=7.5, augmentation=PLAIN),
    ),
    Finding(
        text="multi-crop over plain, photographs",
        thesis=0.8,
        better=Trained(),
        worse=Trained(augmentation=PLAIN),
    ),
    Finding(text="photographs over 1 clone, `c, d_c`, guidance 2", thesis=22.6, better=Trained(), worse=_ONE_CLONE),
    Finding(text="photographs over 10 clones, `c, d_c`, guidance 2", thesis=15.0, better=Trained(), worse=_TEN_CLONES),
)
"""Differences of rows 1 to 10 of table 5.2, and of table 5.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A finding beside this study's.

    Attributes:
        finding: The thesis's.
        differences: Of each seed, in points.
    """

    finding: Finding
    differences: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean difference, in points."""
        return math.fsum(self.differences) / len(self.differences)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean difference; `None` of a single seed."""
        return None if len(self.differences) == 1 else student_interval(self.differences)

    @property
    def here(self) -> str:
        """Mean difference, and its interval."""
        found = self.interval
        return f"{self.mean:+.1f}" + ("" if found is None else f" [{found[0]:+.1f}, {found[1]:+.1f}]")

    @property
    def holds(self) -> str:
        """What the interval says of the thesis's difference."""
        return judged(self.finding.thesis, self.interval)


def judged(thesis: float, interval: tuple[float, float] | None) -> str:
    """What can be said of a difference.

    Args:
        thesis: The thesis's, in points.
        interval: Of this study's; `None` where a single seed gives none.

    Returns:
        "open" where the interval holds zero; "opposite" on the other side of zero; on the thesis's "yes" where it holds
        the thesis's difference, else "same direction, smaller" or "same direction, larger".
    """
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "open"
    if (interval[0] > 0) != (thesis > 0):
        return "opposite"
    near, far = sorted(map(abs, interval))
    if far < abs(thesis):
        return "same direction, smaller"
    return "same direction, larger" if near > abs(thesis) else "yes"


def verdicts(results: Sequence[dict[str, Any]], *, steps: int) -> list[Verdict]:
    """The findings that the results can speak to.

    Args:
        results: Lines of a study.
        steps: Denoising steps of its table; results of other steps are left out.
    """
    top1 = {
        (_trained(line), line["seed"]): line["top1"] for line in results if line["num_inference_steps"] in (None, steps)
    }
    seeds = sorted({line["seed"] for line in results})
    found = []
    for finding in FINDINGS:
        pairs = [(top1.get((finding.better, seed)), top1.get((finding.worse, seed))) for seed in seeds]
        differences = tuple(better - worse for better, worse in pairs if better is not None and worse is not None)
        if differences:
            found.append(Verdict(finding=finding, differences=differences))
    return found


def _trained(line: dict[str, Any]) -> Trained:
    return Trained(
        prompt_template=line["prompt_template"],
        guidance=line["guidance_scale"],
        scale=line["scale"],
        augmentation=line["augmentation"],
    )


def findings_table(found: Sequence[Verdict]) -> str:
    """As Markdown."""
    lines = ["| finding | thesis | here [95 %] | holds |", "| --- | --- | --- | --- |"]
    lines += [f"| {one.finding.text} | {one.finding.thesis:+.1f} | {one.here} | {one.holds} |" for one in found]
    return "\n".join(lines) + "\n"
