"""A figure of measurements along an axis, a line a method."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from bagwise.reports.drawing import COLOURS, GREY, HEIGHT, new_figure

__all__ = ["Curve", "draw_curves"]

_STYLES = tuple(product(("-", "--", ":"), COLOURS))


class Curve(NamedTuple):
    """One line.

    Attributes
    ----------
    x, y
        The points.
    bars
        Half the length of each point's error bar, NaN where there is none; None draws none.

    Examples
    --------
    >>> Curve([50, 100], [0.8, 0.9]).bars is None
    True
    """

    x: Sequence[float]
    y: Sequence[float]
    bars: Sequence[float] | None = None


def draw_curves(path: str | Path, panels: Mapping[str, Mapping[str, Curve]], *, x_label: str, y_label: str) -> None:
    """Draw lines in panels side by side; a name has one style in all of them.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending.
    panels
        For each panel's title, the lines by their names.
    x_label, y_label
        Of the axes.

    Raises
    ------
    BagwiseError
        If the file's name will not do, or it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "figure.svg"
    >>> draw_curves(target, {"": {"attention": Curve([50, 100], [0.8, 0.9])}}, x_label="bags", y_label="AUC")
    >>> target.exists()
    True
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    with new_figure(path, grown=1.0 if len(panels) == 1 else 1.4) as (figure, shown):
        if len(panels) > 1:
            figure.set_figheight(HEIGHT)
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, lines) in zip(row, panels.items(), strict=True):
            for name, curve in lines.items():
                place = names.index(name)
                dash, colour = _STYLES[place % len(_STYLES)]
                axes.errorbar(
                    curve.x,
                    curve.y,
                    yerr=curve.bars,
                    linestyle=dash,
                    color=colour,
                    marker="o",
                    markersize=2.5,
                    elinewidth=0.8,
                    capsize=1.5,
                    label=shown(name),
                )
            axes.set_title(title)
            axes.set_xlabel(x_label)
            axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
        row[0].set_ylabel(y_label)
        handles = {
            label: handle for axes in row for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=4,
            handlelength=3,  # so that dashes are seen beside the marker
            columnspacing=1,
        )
