"""Probes: linear classifiers on features, from one fit of arrays to whole measurements of a representation."""

from typing import TYPE_CHECKING

from shardtools.evaluation.probes.options import SEEDS, SOLVERS, ProbeOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.probes.logistic import Linear, fit
    from shardtools.evaluation.probes.plan import Cell, weights_path
    from shardtools.evaluation.probes.result import OverSeeds, ProbeResult, over_seeds
    from shardtools.evaluation.probes.run import run_probe
    from shardtools.evaluation.probes.searching import Best, Range, Trial, search
    from shardtools.evaluation.probes.text import text_table
    from shardtools.evaluation.probes.weights import read_weights
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "SEEDS",
    "SOLVERS",
    "Best",
    "Cell",
    "Linear",
    "OverSeeds",
    "ProbeOptions",
    "ProbeResult",
    "Range",
    "Trial",
    "fit",
    "over_seeds",
    "read_weights",
    "run_probe",
    "search",
    "text_table",
    "weights_path",
]
