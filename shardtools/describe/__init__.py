"""Descriptions of a dataset for other tools: wids and DALI indexes, Croissant metadata, a dataset card."""

from shardtools.describe.options import DescribeOptions
from shardtools.describe.run import DescribedFile, DescribeResult, describe

__all__ = [
    "DescribeOptions",
    "DescribeResult",
    "DescribedFile",
    "describe",
]
