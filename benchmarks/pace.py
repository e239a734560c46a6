"""The contender's side of a race: get ready, and do one lap each time the starter says so."""

import sys
import time
from collections.abc import Callable

Lap = Callable[[], float]  # does some work and says how many units of it


def run(works: dict[str, Callable[[int, int], Lap]]) -> None:
    """Serve the work named on the command line: NAME SHARE SHARES."""
    name, share, shares = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    lap = works[name](share, shares)
    lap()  # what is made at first use is not part of the race
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        units = lap()
        print((time.perf_counter() - begin) / units, flush=True)
