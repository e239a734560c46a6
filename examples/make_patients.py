"""Make `cells.csv` and `patients.csv`: what a microscope saw of the blood of patients, and what became of them.

A patient is a bag, a cell an instance. Cells that are blasts (large, with much marker A) mean leukaemia, cells that
hold parasites (dark, with much marker B) mean malaria; a patient may have both, or neither, and a test is missing for
one in six. Each blast makes the patient's death more likely at any time, and one in three was only seen for a while.

    python examples/make_patients.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
PATIENTS, BLAST, PARASITE = 90, [2.0, 0.0, 2.5, 0.0], [0.0, 2.0, 0.0, 2.5]
FEATURES = ["size", "darkness", "marker_a", "marker_b"]

if __name__ == "__main__":
    rng = np.random.default_rng(3)
    cells, patients = [], []
    for number in range(PATIENTS):
        patient, size = f"P{number:02}", int(rng.integers(4, 9))
        blasts, parasites = rng.integers(0, 4) * rng.integers(2), rng.integers(1, 3) * rng.integers(2)
        seen = rng.normal(size=(size, 4))
        seen[:blasts] += BLAST
        seen[size - parasites :] += PARASITE
        cells += [(patient, f"{patient}-{place}", *values) for place, values in enumerate(seen.round(2), start=1)]
        lives, last_seen = rng.exponential(60 / 3**blasts), rng.uniform(3, 60)
        known = rng.random(2) < 5 / 6
        told = [int(count > 0) if told else None for count, told in zip((blasts, parasites), known, strict=True)]
        patients.append((patient, *told, int(lives <= last_seen), round(min(lives, last_seen), 1)))
    pd.DataFrame(cells, columns=["patient", "cell", *FEATURES]).to_csv(HERE / "cells.csv", index=False)
    frame = pd.DataFrame(patients, columns=["patient", "leukaemia", "malaria", "died", "months"])
    frame.astype({"leukaemia": "Int64", "malaria": "Int64"}).to_csv(HERE / "patients.csv", index=False)
