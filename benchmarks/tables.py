"""What memory and time commands take on a table of 1,000,000 rows, 27 mixed columns and 20,000 bags.

``python benchmarks/tables.py`` prints a line a command and format; names of commands after it run those alone.
"""

import json
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

ROWS, BAGS = 1_000_000, 20_000
OPTIONS = {
    "check": ["{table}", "--bag", "account", "--label", "label"],
    "fit": ["{table}", "--bag", "account", "--label", "label", "--epochs", "1", "--out", "{run}"],
    "predict": ["{run}", "{table}", "--bag", "account", "--out", "{run}.csv"],
    "predict-scattered": ["{run}", "{scattered}", "--bag", "account", "--out", "{run}.csv"],
}
# In a process of its own, for the most memory that a process ever held is never forgotten.
CHILD = """
import json, resource, sys, time
import bagwise.commands.check, bagwise.commands.fit, bagwise.commands.predict, bagwise.training.engine
from bagwise.cli import main
held = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
begin = time.process_time()
try:
    main()
except SystemExit as ended:
    assert not ended.code
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held
print(json.dumps([most, time.process_time() - begin]))
"""


def table() -> pa.Table:
    """Numbers, whole numbers, truths, categories, dates, gaps, texts of many values and identifiers."""
    rng = np.random.default_rng(0)
    bag = np.sort(rng.integers(0, BAGS, ROWS))
    when = np.datetime64("2024-01-01T00:00:00", "s") + rng.integers(0, 86_400 * 700, ROWS).astype("timedelta64[s]")
    seen = when + rng.integers(0, 10**6, ROWS).astype("timedelta64[s]")

    def texts(count: int, stem: str, missing: float = 0.0) -> pa.Array:
        codes = pa.array(rng.integers(0, count, ROWS).astype(np.int32), mask=rng.random(ROWS) < missing)
        words = pa.array([f"{stem}{number:0{len(str(count))}d}" for number in range(count)])
        return pa.DictionaryArray.from_arrays(codes, words).dictionary_decode()

    return pa.table(
        {
            "account": [f"A{number:06d}" for number in bag],
            "label": (bag % 7 == 0).astype(np.int64),
            **{f"number_{n}": np.round(rng.normal(size=ROWS) * 10, 4) for n in range(6)},
            **{
                f"gappy_{n}": pa.array(np.round(np.exp(rng.normal(size=ROWS) * 2), 3), mask=rng.random(ROWS) < 0.1)
                for n in range(3)
            },
            **{f"count_{n}": rng.integers(0, 100, ROWS) for n in range(3)},
            **{f"flag_{n}": rng.random(ROWS) < 0.3 for n in range(2)},
            **{f"kind_{n}": texts(8 + 10 * n, "kind") for n in range(3)},
            "shop": texts(800, "shop"),
            "gappy_kind": texts(12, "t", 0.15),
            "when": when,
            "day": when.astype("datetime64[D]"),
            "seen": pa.array(seen, mask=rng.random(ROWS) < 0.2),
            "memo": texts(200_000, "payment to number "),
            "reference": [f"{number:012x}" for number in rng.integers(0, 2**48, ROWS)],
            "device": texts(5_000, "device-"),
        }
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = table()
        pq.write_table(made, f"{folder}/table.parquet", row_group_size=100_000)
        pa_csv.write_csv(made, f"{folder}/table.csv")
        size = made.nbytes
        made = made.take(np.random.default_rng(1).permutation(ROWS))  # as if each bag's rows had come one by one
        pq.write_table(made, f"{folder}/scattered.parquet", row_group_size=100_000)
        pa_csv.write_csv(made, f"{folder}/scattered.csv")
        del made
        for ending in ("csv", "parquet"):
            names = {name: f"{folder}/{name}.{ending}" for name in ("table", "scattered")}
            names["run"] = f"{folder}/run_{ending}"
            for command in sys.argv[1:] or OPTIONS:
                options = [option.format(**names) for option in OPTIONS[command]]
                told = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", CHILD, command.partition("-")[0], *options],
                    capture_output=True,
                    check=True,
                ).stdout
                most, seconds = json.loads(told.splitlines()[-1])
                print(f"{command} {ending}: {most / 2**20:.0f} MiB, {most / size:.2f} times Arrow's, {seconds:.1f} s")


if __name__ == "__main__":
    main()
