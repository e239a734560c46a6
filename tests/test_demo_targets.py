import pytest

from bagwise.commands.demo import run_demo


@pytest.mark.slow(seconds=60)
def test_the_demo_finds_positive_bags_and_the_nines_in_them(tmp_path):
    """In half the epochs that it takes by itself."""
    run = run_demo(tmp_path / "demo", epochs=20)
    assert run["bag_auc"] >= 0.95
    assert run["instance_auc"] >= 0.95
