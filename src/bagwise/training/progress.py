"""A progress bar that also counts what worker processes do."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from bagwise.text import printable

__all__ = ["Counter", "counting", "progress_bar", "spinner", "watched"]

_SECONDS_BETWEEN_LOOKS = 0.2


class Counter:
    """One block's number of finished epochs, in a slot of a file that all processes share.

    Parameters
    ----------
    path
        The file.
    slot
        Which place in it.

    Examples
    --------
    >>> with progress_bar(total=2, blocks=1, show=False) as counters:
    ...     counters[0].advance(2)
    """

    def __init__(self, path: Path, slot: int) -> None:
        self.path = path
        self.slot = slot

    def advance(self, epochs: int) -> None:
        """Count some more epochs.

        Parameters
        ----------
        epochs
            How many.
        """
        # A worker on another machine has no such file; its block is counted when it comes back.
        if self.path.exists():
            np.memmap(self.path, np.int64, "r+")[self.slot] += epochs


@contextmanager
def progress_bar(total: int, blocks: int, show: bool) -> Iterator[list[Counter]]:
    """Show a bar over the epochs of all members while the body runs.

    Parameters
    ----------
    total
        Number of epochs, over all members.
    blocks
        Number of blocks.
    show
        False shows nothing.

    Yields
    ------
    list of Counter
        One a block.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epochs"
        np.zeros(blocks, np.int64).tofile(path)
        counters = [Counter(path, slot) for slot in range(blocks)]
        console = Console(stderr=True)  # standard output is for results
        if not show or not console.is_terminal:
            yield counters
            return
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("training", total=total)
            with _again_and_again(lambda: bar.update(task, completed=int(np.fromfile(path, np.int64).sum()))):
                yield counters


@contextmanager
def spinner(text: str, show: bool) -> Iterator[None]:
    """Show that something is under way whose end is not known.

    Parameters
    ----------
    text
        What.
    show
        False shows nothing.

    Examples
    --------
    >>> with spinner("looking", show=False):
    ...     pass
    """
    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield
        return
    with console.status(Text(printable(text))):
        yield


@contextmanager
def counting(text: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar over things that this process does one after the other.

    Parameters
    ----------
    text
        What is done.
    total
        How many there are.
    show
        False shows nothing.

    Yields
    ------
    function
        Takes how many more are done.

    Examples
    --------
    >>> with counting("slide 7", total=2, show=False) as done:
    ...     done(2)
    """
    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(printable(text), total=total)
        yield lambda more: bar.advance(task, more)


@contextmanager
def watched(look: Callable[[], tuple[str, float]], show: bool) -> Iterator[None]:
    """Show a bar and some lines of text, as somebody tells them who is asked again and again, while the body runs.

    Parameters
    ----------
    look
        Gives text and the share that is done.
    show
        False shows nothing, and asks nobody.

    Examples
    --------
    >>> with watched(lambda: ("looking", 0.5), show=False):
    ...     pass
    """
    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield
        return
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def ask() -> None:
            text, share = look()
            bar.update(task, description="\n".join(map(printable, text.split("\n"))), completed=share)

        with _again_and_again(ask):
            yield


@contextmanager
def _again_and_again(look: Callable[[], None]) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS_BETWEEN_LOOKS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        look()
