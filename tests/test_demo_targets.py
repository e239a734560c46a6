import pytest

from bagwise.commands.demo import run_demo


@pytest.mark.slow(seconds=130)
def test_the_demo_finds_positive_bags_and_the_nines_in_them(tmp_path):
    run = run_demo(tmp_path / "demo")
    assert run["bag_auc"] >= 0.95
    assert run["instance_auc"] >= 0.95
