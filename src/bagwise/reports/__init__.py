"""Reports: one self-contained HTML page about a model and the bags it judged."""

from bagwise.reports.html import BagView, Metric, Report, write_report

__all__ = ["BagView", "Metric", "Report", "write_report"]
