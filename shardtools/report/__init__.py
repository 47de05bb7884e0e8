"""Report: one page to look at a dataset and what its overlays say, and to decide on it."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.report.options import ReportOptions

if TYPE_CHECKING:
    from shardtools.report.run import ReportResult, write_report
    from shardtools.report.suspects import export_suspects
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = ["ReportOptions", "ReportResult", "export_suspects", "write_report"]
