"""Protocols of linear probes: which settings are searched, and on features prepared how.

Frozen, out of naver/cog (logreg.py, configs/default.py), naver/trex (transfer/*) and the thesis (sections 3.3.4, 4.4):
learning rate and decay, or C, are drawn log-uniformly; 30 settings; top-1 on a fifth of the training images chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeProtocol:
    """How a classifier is found.

    Attributes:
        name: Of the solver.
        l2: Whether features get length 1.
        space: Setting -> least and greatest value, tried log-uniformly.
        multivariate: Whether the search's model (TPE) sees the settings together.
        group: Whether it does so by groups, as naver/trex has it.
    """

    name: str
    l2: bool
    space: Mapping[str, tuple[float, float]]
    multivariate: bool
    group: bool


PROBE_PROTOCOLS: dict[str, ProbeProtocol] = {
    "sgd": ProbeProtocol(
        name="sgd",
        l2=True,
        space={"rate": (0.1, 100.0), "decay": (1e-12, 1e-4)},
        multivariate=True,
        group=True,
    ),
    "lbfgs": ProbeProtocol(name="lbfgs", l2=False, space={"C": (1e-5, 1e6)}, multivariate=False, group=False),
}
"""Name of a solver -> its protocol."""
