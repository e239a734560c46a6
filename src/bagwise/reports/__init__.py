"""Reports: one self-contained HTML page about models and the bags they judged."""

from bagwise.reports.html import write_report
from bagwise.reports.view import BagView, Figure, InColumn, Metric, Report, Section, Table

__all__ = ["BagView", "Figure", "InColumn", "Metric", "Report", "Section", "Table", "write_report"]
