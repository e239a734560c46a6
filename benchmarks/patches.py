"""How much memory it takes to learn from a bag of 20,000 patches of 32 x 32 pixels, with the exact gradient."""

import time

import numpy as np
from million import anonymous_mib, most_during, print_row

from bagwise import AttentionMIL, Bags

PATCHES, SIDE = 20_000, 32


def main() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8) for size in (5, 5)]
    AttentionMIL(epochs=1, random_state=0).fit(Bags.from_arrays(arrays, labels=[0, 1]))
    before, begin = anonymous_mib(), time.perf_counter()
    arrays[1] = rng.integers(0, 256, (PATCHES, SIDE, SIDE, 3), dtype=np.uint8)
    bags = Bags.from_arrays(arrays, labels=[0, 1])
    most = most_during(lambda: AttentionMIL(epochs=1, random_state=0).fit(bags))
    seconds = time.perf_counter() - begin
    what = "anonymous memory that learning from one bag of 20,000 patches of 32 x 32 takes, pixels included"
    print_row(most - before, seconds, what)


if __name__ == "__main__":
    main()
