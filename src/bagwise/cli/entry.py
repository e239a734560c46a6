"""Where the command starts, and what becomes of errors."""

import sys

from bagwise.cli.commands import app
from bagwise.cli.reproduce import reproduce
from bagwise.errors import BagwiseError

__all__ = ["app", "main"]

INTERRUPTED = 130

app.add_typer(reproduce, name="reproduce")


def main() -> None:
    """Run the command; what a user can put right is one sentence on standard error and exit status 1.

    Examples
    --------
    >>> sys.argv = ["bagwise", "--version"]
    >>> try:
    ...     main()
    ... except SystemExit as stop:
    ...     print(stop.code)
    bagwise ...
    0
    """
    try:
        app()
    except BagwiseError as error:
        print(f"bagwise: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer turns an interruption into this exit status, and says nothing.
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:
            raise
        print("bagwise: stopped; the same command with --resume goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)
