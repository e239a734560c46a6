"""A figure of measured accuracies beside published ones."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bagwise.reports.drawing import COLOURS, GREY, new_figure

__all__ = ["draw_comparison"]


def draw_comparison(
    path: str | Path,
    ours: Mapping[str, Mapping[str, tuple[float, float]]],
    published: Mapping[str, Mapping[str, tuple[float, float | None]]],
) -> None:
    """Draw, for each data set, the measured and the published accuracy of each method.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending.
    ours
        For each data set, for each method: the accuracy and half the length of its bar.
    published
        The same as published; a method that is missing, or has no bar, is drawn without.

    Raises
    ------
    BagwiseError
        If the file's name will not do, or it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "figure.svg"
    >>> draw_comparison(target, {"musk1": {"attention": (0.88, 0.01)}}, {"musk1": {"attention": (0.892, 0.04)}})
    >>> target.exists()
    True
    """
    methods = list(dict.fromkeys(name for cells in ours.values() for name in cells))
    places = np.arange(len(methods))[::-1]
    with new_figure(path, grown=1.6) as (figure, shown):
        panels = figure.subplots(1, len(ours), sharey=True, squeeze=False)[0]
        for axes, (dataset, cells) in zip(panels, ours.items(), strict=True):
            for measured, cells_of, colour, marker, label, shift in (
                (False, published.get(dataset, {}), GREY, "o", "published", 0.16),
                (True, cells, COLOURS[0], "D", "measured", -0.16),
            ):
                known = [number for number, name in enumerate(methods) if name in cells_of and name in cells]
                bars = [cells_of[methods[number]][1] or 0.0 for number in known]
                axes.errorbar(
                    [cells_of[methods[number]][0] for number in known],
                    places[known] + shift,
                    xerr=bars,
                    color=colour,
                    fmt=marker,
                    fillstyle="full" if measured else "none",
                    markersize=4,
                    elinewidth=0.8,
                    label=label,
                )
            axes.set_title(shown(dataset))
            axes.set_xlabel("accuracy")
            axes.set_yticks(places, [shown(name) for name in methods])
            axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.5)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
