"""Probes: classifiers that are fitted to features, arrays in, arrays out."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.probes.logistic import Linear, fit
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = ["Linear", "fit"]
