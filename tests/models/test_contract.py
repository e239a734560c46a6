"""Encoders and poolings of a user's own: what ties bags together, or does not fit, is refused when a model is built."""

import pytest
import torch
from torch import nn

from bagwise.errors import BagwiseError
from bagwise.methods.families import AttentionMIL, EmbeddingMIL, InstanceMIL
from bagwise.models.architecture import Architecture
from bagwise.models.contract import check_encoder, check_pooling
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS, Attention, Mean, Pooled, Pooling
from bagwise.segments import segment_mean, segment_softmax, segment_sum


class Through(Pooling):
    """Pool by the mean what a layer makes of the values."""

    def __init__(self, width):
        super().__init__(width)
        self.norm = self.make(width)

    def make(self, _):
        return nn.Identity()

    def forward(self, values, offsets):
        return Pooled(segment_mean(self.norm(values), offsets))


class Normed(Through):
    def make(self, width):
        return nn.BatchNorm1d(width)


class NormedAlike(Through):
    """Its statistics are those of each batch, in whatever mode."""

    def make(self, width):
        return nn.BatchNorm1d(width, track_running_stats=False).eval()


class Frozen(Through):
    def make(self, width):
        return nn.BatchNorm1d(width).eval()


class ByLayer(Through):
    def make(self, width):
        return nn.LayerNorm(width)


class Dropping(Through):
    def make(self, _):
        return nn.Dropout(0.5)


class Centred(Pooling):
    """Statistics of a batch, with nothing to tell them by."""

    def forward(self, values, offsets):
        return Pooled(segment_mean(values - values.mean(0), offsets))


class CentredInTraining(Pooling):
    def forward(self, values, offsets):
        return Pooled(segment_mean(values - values.mean(0) if self.training else values, offsets))


class OfAllBags(Pooling):
    """Weights that compete between bags."""

    def forward(self, values, offsets):
        weights = values.sum(1).softmax(0)
        return Pooled(segment_mean(values, offsets), weights)


class ManyHeads(Pooling):
    def forward(self, values, offsets):
        weights = segment_softmax(values[:, :2], offsets)
        return Pooled(segment_mean(values, offsets), weights)


class OfNoClasses(Pooling):
    weight_axis = "classes"

    def forward(self, values, offsets):
        return Pooled(segment_mean(values, offsets), segment_softmax(values[:, :1], offsets))


class TwiceAsWide(Pooling):
    def forward(self, values, offsets):
        mean = segment_mean(values, offsets)
        return Pooled(torch.cat([mean, mean], dim=1))


class WeightsOfBags(Pooling):
    def forward(self, values, offsets):
        mean = segment_mean(values, offsets)
        return Pooled(mean, mean[:, 0])


class FarFromTheOthers(Pooling):
    """Places on the scale of all bags of the step."""

    wants_coordinates = True

    def forward(self, values, offsets, coordinates):
        return Pooled(segment_mean(values * (coordinates - coordinates.mean(0))[:, :1], offsets))


class OneNumber(Pooling):
    def forward(self, values, offsets):
        return Pooled(segment_sum(values, offsets).sum(1))


class OneRow(Pooling):
    def forward(self, values, _):
        return Pooled(values.mean(0, keepdim=True))


class NoPooled(Pooling):
    def forward(self, values, offsets):
        return segment_mean(values, offsets)


class NoTensor(Pooling):
    def forward(self, values, offsets):
        return Pooled(segment_mean(values, offsets).tolist())


class Failing(Pooling):
    def forward(self, values, _):
        return Pooled(values[5:6].reshape(7, -1))


class Keeping(Through):
    """It has state that is no tensor."""

    def get_extra_state(self):
        return {"seen": 3}

    def set_extra_state(self, _):
        pass

    def make(self, _):
        return nn.Identity()


REFUSED = {
    Keeping: "the pooling Keeping has state of its own in get_extra_state",
    Normed: r"the pooling Normed holds a BatchNorm in training mode .*'norm', which ties instances and bags of a step",
    NormedAlike: r"the pooling NormedAlike holds a BatchNorm .*without statistics of its own",
    Centred: "the pooling Centred ties bags together",
    CentredInTraining: "the pooling CentredInTraining ties bags together",
    OfAllBags: "the pooling OfAllBags ties bags together",
    FarFromTheOthers: "the pooling FarFromTheOthers ties bags together",
    OfNoClasses: r"gives weights of shape \(9, 1\), and \(9,\) or \(9, [23]\) was expected of 9 .* are classes$",
    WeightsOfBags: r"the pooling WeightsOfBags gives weights of shape \(3,\), and \(9,\) or \(9, any\) was expected",
    OneNumber: r"the pooling OneNumber gives bags of shape \(3,\), and \(3, (any|3)\) was expected",
    OneRow: r"the pooling OneRow gives bags of shape \(1, 3\), and \(3, (any|3)\) was expected",
    NoPooled: r"the pooling NoPooled gives a Tensor: let it give bagwise\.models\.pooling\.Pooled$",
    NoTensor: r"the pooling NoTensor gives bags that are a list, and \(3, (any|3)\) was expected",
    Failing: "the pooling Failing fails on 3 bags of width 3 with 9 instances in all: ",
}


@pytest.mark.parametrize("pooling", REFUSED)
def test_a_pooling_that_does_not_keep_to_its_contract_is_refused(make_bags, pooling):
    with pytest.raises(BagwiseError, match=REFUSED[pooling]) as caught:
        EmbeddingMIL(encoder="identity", pooling=pooling, epochs=1, random_state=0).fit(make_bags())
    assert "\n" not in str(caught.value)
    with pytest.raises(BagwiseError, match=f"the pooling {pooling.__name__} "):
        InstanceMIL(encoder="identity", pooling=pooling, epochs=1, random_state=0).fit(make_bags(classes=3))


def test_logits_must_stay_as_many_as_they_are(make_bags):
    wanted = r"TwiceAsWide gives bags of shape \(3, 6\), and \(3, 3\) was expected of 3 bags of width 3$"
    with pytest.raises(BagwiseError, match=wanted):
        InstanceMIL(encoder="identity", pooling=TwiceAsWide, epochs=1, random_state=0).fit(make_bags(classes=3))


@pytest.mark.parametrize("pooling", [Through, Frozen, ByLayer, Dropping, Mean, Attention, ManyHeads, TwiceAsWide])
def test_a_pooling_that_keeps_to_it_is_taken(make_bags, pooling):
    model = EmbeddingMIL(encoder="identity", pooling=pooling, epochs=2, random_state=0).fit(make_bags())
    together = model.predict_proba(make_bags())
    alone = torch.cat([torch.from_numpy(model.predict_proba([bag.instances])) for bag in make_bags()])
    torch.testing.assert_close(torch.from_numpy(together), alone)


@pytest.mark.parametrize("registry", [EMBEDDING_POOLINGS, INSTANCE_POOLINGS], ids=["embedding", "instance"])
def test_all_poolings_of_bagwise_keep_to_it(registry):
    for width in (1, 4):
        for make in registry.values():
            check_pooling(make(width), width)


def test_a_frozen_norm_of_a_pooling_stays_frozen():
    model = Architecture("embedding", Frozen, "identity").build((3,), outputs=1, seed=0)
    assert not model.train().pooling.norm.training


def test_trying_a_pooling_changes_neither_it_nor_what_is_drawn_next():
    class Counting(Dropping):
        def __init__(self, width):
            super().__init__(width)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, values, offsets):
            self.calls += 1
            return super().forward(values, offsets)

    pooling = Counting(3)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        wanted = torch.rand(2)
        torch.default_generator.manual_seed(3)
        check_pooling(pooling, 3)
        check_encoder(nn.Dropout(0.5), (3,))
        torch.testing.assert_close(torch.rand(2), wanted, rtol=0, atol=0)
    assert pooling.training
    assert pooling.calls == 0


# ---- encoders --------------------------------------------------------------------------------------------------------


class CentredEncoder(nn.Module):
    def forward(self, values):
        return values - values.mean(0)


class StandardisedInTraining(nn.Module):
    def forward(self, values):
        return nn.functional.batch_norm(values, None, None, training=True) if self.training else values


class Attending(nn.Module):
    """A transformer over the instances of a step, whichever bags they are of."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, values):
        return self.attention(values[None], values[None], values[None])[0][0]


@pytest.mark.parametrize("kind", [CentredEncoder, StandardisedInTraining, Attending])
def test_an_encoder_that_ties_instances_together_is_refused(make_bags, kind):
    with pytest.raises(BagwiseError, match=f"the encoder {kind.__name__} ties instances together"):
        AttentionMIL(encoder=kind(), epochs=1, random_state=0).fit(make_bags())


@pytest.mark.parametrize(
    "encoder",
    [
        nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Dropout(0.3)),
        nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(3, 8), nn.GroupNorm(2, 8)),
        nn.Sequential(nn.Linear(3, 4).double(), nn.ReLU()),
        nn.Linear(3, 4).bfloat16(),
    ],
    ids=["layer-norm", "frozen", "group-norm", "double", "bfloat16"],
)
def test_an_encoder_that_looks_at_each_by_itself_is_taken(encoder):
    check_encoder(encoder, (3,))


class Drawing(nn.Module):
    """Adds noise, in prediction too where `always`."""

    def __init__(self, always):
        super().__init__()
        self.always = always
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, values):
        return self.weight * values + (torch.randn_like(values) if self.always or self.training else 0)


class Remembering(Drawing):
    """Drifts with each call, by a number that no state holds."""

    calls = 0

    def forward(self, values):
        self.calls += 1
        return values * self.calls


@pytest.mark.parametrize("encoder", [Drawing(True), Remembering(True)])
def test_what_answers_in_two_ways_in_prediction_is_refused(encoder):
    with pytest.raises(BagwiseError, match="answers the same instances in two ways in prediction mode"):
        check_encoder(encoder, (3,))
    check_encoder(Drawing(False), (3,))
