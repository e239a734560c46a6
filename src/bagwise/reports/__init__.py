"""Reports: one self-contained HTML page about models and the bags they judged."""

from bagwise.reports.html import write_report
from bagwise.reports.view import BagView, Figure, Metric, Report, Table

__all__ = ["BagView", "Figure", "Metric", "Report", "Table", "write_report"]
