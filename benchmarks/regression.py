"""Our regression on bags of numbers, chosen by bags kept apart from training: prints R² and CPU seconds."""

import json
import time

import numpy as np
import torch
import workloads
from sklearn.metrics import r2_score

import bagwise as bw
from bagwise.methods.neural import NeuralMIL

# Instances are their features already, so nothing encodes them.
OPTIONS = {"encoder": "identity", "optimizer": "adam", "learning_rate": 0.01, "dropout": 0.0, "l2": 0.0}
METHODS = ("instance-max", "embedding-max", "attention")
EPOCHS, APART = 16, 100


def main() -> None:
    torch.set_num_threads(1)
    work = workloads.numbers()
    bags = bw.Bags(work.instances, work.offsets, work.labels)
    learnt, apart = work.folds[0][:-APART], work.folds[0][-APART:]
    test = np.arange(work.folds[0].size, len(bags))
    make(METHODS[0]).fit(bags[:20])  # what is compiled at first use is not part of the race
    begin = time.process_time()
    models = [make(method).fit(bags[learnt]) for method in METHODS]
    best = max(models, key=lambda model: model.score(bags[apart]))
    predicted = best.predict(bags[test])
    seconds = time.process_time() - begin
    found = {"r2": r2_score(work.labels[test], predicted), "seconds": seconds, "among": len(METHODS)}
    print(json.dumps(found | {"chosen": METHODS[models.index(best)]}))


def make(method: str) -> NeuralMIL:
    return bw.make(method, epochs=EPOCHS, random_state=0, **OPTIONS)


if __name__ == "__main__":
    main()
