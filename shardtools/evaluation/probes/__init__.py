"""Probes: linear classifiers on features, from one fit of arrays to whole measurements of a representation."""

from typing import TYPE_CHECKING

from shardtools.evaluation.probes.options import EPOCHS, PRECISIONS, SEEDS, SOLVERS, ProbeOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.probes.cells import Prepared, measure_cells, prepare
    from shardtools.evaluation.probes.launch import ProbeJob, probe_storage
    from shardtools.evaluation.probes.logistic import Linear, fit
    from shardtools.evaluation.probes.plan import Cell, weights_path
    from shardtools.evaluation.probes.reading import read_probed
    from shardtools.evaluation.probes.result import OverSeeds, ProbeResult, over_seeds
    from shardtools.evaluation.probes.run import run_probe
    from shardtools.evaluation.probes.searching import Best, Range, Trial, search
    from shardtools.evaluation.probes.solving import Part, Settings, Solver
    from shardtools.evaluation.probes.text import text_table
    from shardtools.evaluation.probes.weights import WeightFacts, read_weights
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "EPOCHS",
    "PRECISIONS",
    "SEEDS",
    "SOLVERS",
    "Best",
    "Cell",
    "Linear",
    "OverSeeds",
    "Part",
    "Prepared",
    "ProbeJob",
    "ProbeOptions",
    "ProbeResult",
    "Range",
    "Settings",
    "Solver",
    "Trial",
    "WeightFacts",
    "fit",
    "measure_cells",
    "over_seeds",
    "prepare",
    "probe_storage",
    "read_probed",
    "read_weights",
    "run_probe",
    "search",
    "text_table",
    "weights_path",
]
