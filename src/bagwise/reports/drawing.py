"""What all figures have in common: their style, names that are safe to show, legends, and how they are saved."""

import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D

from bagwise.errors import BagwiseError
from bagwise.files import replacing

__all__ = [
    "COLOURS",
    "DASHES",
    "GREY",
    "HEIGHT",
    "REFERENCE",
    "WIDTH",
    "Shown",
    "add_legend",
    "handle",
    "new_figure",
    "square",
]

# Okabe and Ito's colours, which colour-blind readers tell apart, without those too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_NAME_WIDTH = 16
GREY = "#767676"
_STYLE: Any = {
    "axes.edgecolor": GREY,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans", "sans-serif"],  # the first comes with matplotlib, but not with all readers of an SVG
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.title_fontsize": 7,
    "lines.linewidth": 1.5,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "bagwise",
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": "black",
    "xtick.labelsize": 7,
    "ytick.color": GREY,
    "ytick.labelcolor": "black",
    "ytick.labelsize": 7,
}
WIDTH, HEIGHT = 5.0, 4.0  # inches

REFERENCE: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 0.8}

Shown = Callable[..., str]


@contextmanager
def new_figure(path: str | Path, grown: float = 1.0) -> Iterator[tuple[Figure, Shown]]:
    """Give an empty figure, and what makes names fit to be shown in it; save the figure in the end."""
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise BagwiseError(f"cannot write {path}: a figure's name must end in .svg or .png")
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the same picture whatever style the caller has set
        matplotlib.rcParams.update(_STYLE)
        # An SVG holds text as text, which the reader's fonts draw.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH * grown, HEIGHT * grown))
        yield figure, (_svg_name if kind == "svg" else _png_name)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _svg_name(name: Any, lines: int = 2) -> str:
    """Make a name safe to be shown, and short enough for so many lines."""
    text = " ".join(str(name).split())
    # Invisible characters can turn the direction of text, and XML has no room for some of them.
    seen = (c for c in text if unicodedata.category(c) != "Cf")
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in seen) or "(no name)"
    wrapped = textwrap.wrap(text, _NAME_WIDTH)
    if len(wrapped) > lines:
        if len(text) > lines * _NAME_WIDTH:  # names of one family differ at their ends
            half = lines * _NAME_WIDTH // 2
            text = f"{text[: half - 1]}…{text[-half:]}"
        wrapped = [text[begin : begin + _NAME_WIDTH] for begin in range(0, len(text), _NAME_WIDTH)]
    return "\n".join(wrapped)


def _png_name(name: Any, lines: int = 2) -> str:
    """Do the same where characters that the font has not would all look alike."""
    font = get_font(findfont("DejaVu Sans"))
    visible = (c if not c.isprintable() or font.get_char_index(ord(c)) else f"U+{ord(c):X}" for c in str(name))
    return _svg_name("".join(visible), lines)


def square(figure: Figure, x: str, y: str) -> Axes:
    """Add square axes from 0 to 1, with names."""
    axes = figure.add_subplot(box_aspect=1, anchor="NW", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    return axes


def handle(name: str, numbers: str, style: dict[str, Any]) -> Line2D:
    """Make a line of a legend: numbers, and then a name that may take several lines."""
    indent = "".join("\N{FIGURE SPACE}" if c.isdigit() else "\N{NO-BREAK SPACE}" for c in f"{numbers}  ")
    return Line2D([], [], **style, label=f"{numbers}  " + name.replace("\n", f"\n{indent}"))


def add_legend(figure: Figure, title: str, handles: list[Line2D]) -> None:
    """Put a legend beside the axes."""
    figure.legend(handles=handles, title=title, loc="outside right upper", alignment="left")
