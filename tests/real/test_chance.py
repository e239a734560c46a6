import numpy as np
import pytest

import bagwise as bw
from bagwise import METHODS

# All neural methods are divided, scaled, trained and stopped by the same code, whatever their model. The ways through
# it are several: compiled, or step by step with neighbours, with parts of a bag, with what is learnt of instances.
NEURAL = {"attention", "mi-Net", "graph", "DTFD-MIL", "CLAM-MB"}
OTHERS = [name for name, (kind, _) in METHODS.items() if not issubclass(kind, bw.NeuralMIL)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(NEURAL), *OTHERS])
def test_shuffled_labels_are_predicted_no_better_than_by_chance(data_directory, name):
    """A leak of test bags into anything that is learnt would show here."""
    bags = bw.load_dataset("musk1", data_directory)
    model = bw.make(name, random_state=0)
    if isinstance(model, bw.NeuralMIL):  # what is learnt of a bag by ten epochs, is more than chance
        model.set_params(epochs=10)
    accuracies = []
    for seed in range(3):
        shuffled = bags.with_labels(np.random.default_rng(seed).permutation(bags.labels))
        accuracies.append(bw.cross_validate(model, shuffled, folds=5, seed=seed).mean())
    # 276 predictions have a standard error of .03, and those of one division are not independent.
    assert 0.38 < np.mean(accuracies) < 0.62
