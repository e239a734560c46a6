import statistics

import pytest

from bagwise.commands.demo import run_demo


@pytest.mark.slow
def test_the_demo_finds_positive_bags_and_the_nines_in_them(tmp_path):
    runs = [run_demo(tmp_path / str(seed), seed=seed) for seed in range(3)]
    assert statistics.median(run["bag_auc"] for run in runs) >= 0.95
    assert statistics.median(run["instance_auc"] for run in runs) >= 0.95
