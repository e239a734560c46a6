"""mikit-learn's regression, as its own README uses it: `python mikit_rival.py additive` prints R² and CPU seconds."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
import workloads
from milearn.network.regressor import AdditiveAttentionNetworkRegressor, SelfAttentionNetworkRegressor
from milearn.preprocessing import BagMinMaxScaler
from sklearn.metrics import r2_score

NETWORKS = {"additive": AdditiveAttentionNetworkRegressor, "self": SelfAttentionNetworkRegressor}


def main() -> None:
    torch.set_num_threads(1)
    work = workloads.numbers()
    train, test = work.folds[0], np.arange(work.folds[0].size, len(work.labels))
    begin = time.process_time()
    scaler = BagMinMaxScaler().fit([work.bag(bag) for bag in train.tolist()])
    learnt, asked = (scaler.transform([work.bag(bag) for bag in bags.tolist()]) for bags in (train, test))
    model = NETWORKS[sys.argv[1]]()
    model.fit(learnt, work.labels[train])
    predicted = np.ravel(model.predict(asked))
    seconds = time.process_time() - begin
    print(json.dumps({"r2": r2_score(work.labels[test], predicted), "seconds": seconds}))


if __name__ == "__main__":
    main()
