"""Transfer: linear classifiers on many sets, their log odds, training against transfer, and what the features are."""

from typing import TYPE_CHECKING

from shardtools.evaluation.transfer.options import TransferOptions, TransferSet
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.transfer.measured import Analyzed, Failed, Measured, SetMean, Transfer
    from shardtools.evaluation.transfer.picture import draw_transfer
    from shardtools.evaluation.transfer.plane import PlanePoint, plane_points, published_points, upper_hull
    from shardtools.evaluation.transfer.run import measure_transfer
    from shardtools.evaluation.transfer.splits import SetSplits, choose_solver, choose_splits
    from shardtools.evaluation.transfer.text import mean_shares, transfer_tables
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Analyzed",
    "Failed",
    "Measured",
    "PlanePoint",
    "SetMean",
    "SetSplits",
    "Transfer",
    "TransferOptions",
    "TransferSet",
    "choose_solver",
    "choose_splits",
    "draw_transfer",
    "mean_shares",
    "measure_transfer",
    "plane_points",
    "published_points",
    "transfer_tables",
    "upper_hull",
]
