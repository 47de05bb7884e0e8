"""Descriptions of a dataset for other tools: wids and DALI indexes, Croissant metadata, a dataset card."""

from typing import TYPE_CHECKING

from shardtools.describe.options import DescribeOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.describe.run import DescribedFile, DescribeResult, describe
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "DescribeOptions",
    "DescribeResult",
    "DescribedFile",
    "describe",
]
