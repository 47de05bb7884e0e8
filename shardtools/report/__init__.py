"""Report: one page to look at a dataset and what its overlays say, and to decide on it."""

from shardtools.report.options import ReportOptions
from shardtools.report.run import ReportResult, write_report
from shardtools.report.suspects import export_suspects

__all__ = ["ReportOptions", "ReportResult", "export_suspects", "write_report"]
