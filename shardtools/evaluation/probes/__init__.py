"""Probes: classifiers that are fitted to features, and the search for their settings."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.probes.logistic import Linear, fit
    from shardtools.evaluation.probes.searching import Best, Range, Trial, search
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = ["Best", "Linear", "Range", "Trial", "fit", "search"]
