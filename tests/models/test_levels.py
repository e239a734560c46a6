"""Levels: what every way to compose a model must keep, found through the registry, and what instances contribute."""

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise import BagwiseError
from bagwise.models.architecture import LEVELS, Architecture
from bagwise.segments import segment_sum

ENCODERS = {"deep-supervision": "mi-net-levels", "residual": "mi-net-equal-levels"}
RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=(size, 2)) for size in (3, 1, 4, 2, 5, 1)]
LABELS = {
    "classes": [0, 1] * 3,
    "three classes": ["c", "a", "b"] * 2,
    "real": RNG.normal(size=6),
}


class Adding(torch.nn.Module):
    """Scores instances, and adds up."""

    def __init__(self, instance_shape, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(*instance_shape, outputs)

    def encode(self, instances):
        return instances

    def aggregate(self, embeddings, offsets):
        each = self.layer(embeddings)
        return bw.Output(segment_sum(each, offsets), contributions=each)


def test_a_pooling_is_one_of_its_level():
    with pytest.raises(BagwiseError, match="no level 'bag': the levels are embedding, instance"):
        Architecture("bag", "max", "mi-net")
    with pytest.raises(BagwiseError, match="no pooling None at the embedding level: the poolings are max"):
        Architecture("embedding", None, "mi-net")


@pytest.mark.parametrize("level", LEVELS)
def test_what_a_level_does_not_take_is_refused(level):
    pooling = next(iter(LEVELS[level].POOLINGS), None)
    design = Architecture(level, pooling, ENCODERS.get(level, "mi-net"), level_options={"nonsense": 1})
    with pytest.raises(TypeError, match="nonsense"):
        design.build((3,), 1, seed=0)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_contributions_add_up_to_what_is_said_of_a_bag(labels):
    bags = bw.Bags.from_arrays(ARRAYS, labels)
    model = bw.NeuralMIL(model=Adding, epochs=2, class_weight=None, standardize=False, random_state=0).fit(bags)
    found = model.contributions(bags)
    sums = np.add.reduceat(found, bags.offsets[:-1])
    if model.target_.names is None:
        expected = model.predict(bags)
        sums = model.target_.answers(torch.from_numpy(sums).reshape(1, -1, 1), model.model_.learnt).numpy()[:, 0]
    else:
        expected = model.decision_function(bags)
        if sums.ndim == 2:
            sums = torch.from_numpy(sums).log_softmax(1).numpy()
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-6)


def test_contributions_speak_for_the_positive_class():
    bags = bw.Bags.from_arrays(ARRAYS, ["sick", "well"] * 3)
    found = [bw.NeuralMIL(model=Adding, positive=one, epochs=40, random_state=0).fit(bags) for one in ("sick", "well")]
    for model in found:
        sums = np.add.reduceat(model.contributions(bags), bags.offsets[:-1])
        column = list(model.classes_).index(model.positive_)
        likely = model.predict_proba(bags)[:, column]
        np.testing.assert_allclose(sums, np.log(likely / (1 - likely)), rtol=1e-4, atol=1e-5)


def test_a_model_without_contributions_says_so():
    bags = bw.Bags.from_arrays(ARRAYS, LABELS["classes"])
    assert not hasattr(bw.AttentionMIL(), "contributions")

    class Silent(Adding):
        def aggregate(self, embeddings, offsets):
            return super().aggregate(embeddings, offsets)._replace(contributions=None)

    model = bw.NeuralMIL(model=Silent, epochs=1).fit(bags)
    with pytest.raises(BagwiseError, match="no contributions of instances: ask for instance_scores"):
        model.contributions(bags)
