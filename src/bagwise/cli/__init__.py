"""The command `bagwise`."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command as `bagwise.cli.entry.main` does, also where it is stopped before that is loaded."""
    try:
        from bagwise.cli import entry

        entry.main()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            print("bagwise: stopped", file=sys.stderr)
        sys.exit(130)
