"""What instances that know each other cost: neighbours of a large bag, and memory of a training step.

Usage: python benchmarks/relational.py coordinates|features|self-attention [instances]
"""

import resource
import sys
import time

import numpy as np

import bagwise as bw
from bagwise.models.neighbours import nearest, standardised

what, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
rng = np.random.default_rng(0)
began = time.perf_counter()
if what == "coordinates":
    nearest(rng.uniform(size=(count, 2)), 8)
elif what == "features":
    nearest(standardised(rng.normal(size=(count, 512))), 8)
else:
    instances = rng.normal(size=(count + 10, 512)).astype(np.float32)
    bags = bw.Bags(instances, np.array([0, count, count + 10]), labels=np.array([0, 1]))
    bw.make(what, encoder="identity", epochs=1, patience=None, threshold=0.5, random_state=0).fit(bags)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{what}, {count} instances: {time.perf_counter() - began:.1f} s, at most {memory:.2f} GiB")
