"""Models of a user's own: what is refused when they are built, and that all that holds for Bagwise's holds for them."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import bagwise as bw
from bagwise.errors import BagwiseError
from bagwise.evaluation.cross_validation import cross_validate
from bagwise.explain import explain
from bagwise.methods import joint
from bagwise.models.own import OwnArchitecture
from bagwise.models.pooling import Mean, Pooled, Pooling
from bagwise.segments import segment_max, segment_mean, segment_softmax, segment_sum, segment_weighted_sum
from bagwise.targets.likelihood import negative_log_likelihood
from bagwise.training import engine
from bagwise.training.engine import train
from bagwise.training.gradient import accumulate_gradient


class Plain(nn.Module):
    """A small attention model, whose parts others change."""

    def __init__(self, instance_shape, outputs, width=4):
        super().__init__()
        self.outputs = outputs
        self.layer = nn.Linear(*instance_shape, width)
        self.score = nn.Linear(width, 1)
        self.head = nn.Linear(width, outputs)

    def encode(self, instances):
        return self.layer(instances).tanh()

    def weights(self, h, offsets):
        return segment_softmax(self.score(h), offsets)

    def aggregate(self, embeddings, offsets):
        weights = self.weights(embeddings, offsets)
        return bw.Output(self.head(segment_weighted_sum(weights, embeddings, offsets)), weights[:, 0])


class ByClass(Plain):
    """A weight for each class: high where column 0 is far on the side of the class."""

    weight_axis = "classes"

    def weights(self, h, offsets):
        return segment_softmax(torch.cat([-self.score(h), self.score(h)], 1), offsets)

    def aggregate(self, embeddings, offsets):
        weights = self.weights(embeddings, offsets)
        return bw.Output(self.head(segment_weighted_sum(weights[:, 1:], embeddings, offsets)), weights)


class SelfAttending(Plain):
    """Instances of a bag see each other; those of others do not."""

    def aggregate(self, embeddings, offsets):
        seen = embeddings + segment_max(embeddings, offsets).repeat_interleave(torch.diff(offsets), 0)
        return super().aggregate(seen, offsets)


class Norm(Plain):
    def __init__(self, instance_shape, outputs):
        super().__init__(instance_shape, outputs)
        self.head = nn.Sequential(nn.BatchNorm1d(4), self.head)


class Frozen(Norm):
    def __init__(self, instance_shape, outputs):
        super().__init__(instance_shape, outputs)
        self.head[0].eval()


class TiesInstances(Plain):
    def encode(self, instances):
        return super().encode(instances - instances.mean(0))


class TiesBags(Plain):
    def aggregate(self, embeddings, offsets):
        return super().aggregate(embeddings - embeddings.mean(0), offsets)


class TiesBagsInTraining(Plain):
    def aggregate(self, embeddings, offsets):
        return super().aggregate(embeddings - embeddings.mean(0) if self.training else embeddings, offsets)


class NoEncode(nn.Linear):
    def __init__(self, instance_shape, outputs):
        super().__init__(*instance_shape, outputs)


def changed(**parts):
    class Changed(Plain):
        def aggregate(self, embeddings, offsets):
            return (
                super()
                .aggregate(embeddings, offsets)
                ._replace(**{name: make(embeddings, offsets) for name, make in parts.items()})
            )

    return Changed


def no_module(instance_shape, outputs):
    return instance_shape, outputs


def failing(instance_shape, outputs):
    return nn.Linear(*instance_shape, *instance_shape, *instance_shape, outputs, 7)


class OneInstanceTooFew(Plain):
    def aggregate(self, embeddings, offsets):
        if (torch.diff(offsets) < 2).any():
            raise ValueError("a bag of one")
        return super().aggregate(embeddings, offsets)


class Keeping(Plain):
    def get_extra_state(self):
        return {"seen": 3}

    def set_extra_state(self, _):
        pass


REFUSED = {
    "state": (Keeping, r"the model Keeping has state of its own in get_extra_state, 'Keeping', .*make a buffer of it"),
    "norm": (Norm, r"the model Norm holds a BatchNorm in training mode .*'head.0'"),
    "instances": (TiesInstances, "the model TiesInstances ties instances together"),
    "bags": (TiesBags, "the model TiesBags ties bags together"),
    "bags in training": (TiesBagsInTraining, "the model TiesBagsInTraining ties bags together"),
    "no encode": (NoEncode, r"the model NoEncode has no method encode: a model is a torch.nn.Module with encode\("),
    "no module": (no_module, "what makes the model gives a tuple: let it make a torch.nn.Module"),
    "not made": (failing, r"the model cannot be made by failing\(instance_shape=\(3,\), outputs=1\): "),
    "unknown option": (partial(Plain, heads=2), r"by Plain\(instance_shape=\(3,\), outputs=1, heads=2\): .*heads"),
    "nothing": (
        "attention",
        "model is 'attention': it must be a module, or a class or function that makes one, or None",
    ),
    "fails": (OneInstanceTooFew, "the model OneInstanceTooFew fails on 3 bags with 9 instances in all: a bag of one"),
    "logits": (
        changed(logits=lambda h, o: segment_mean(h, o)),
        r"gives logits of shape \(3, 4\), and \(3, 1\) or \(any, 3, 1\) was expected of 3 bags",
    ),
    "weights": (
        changed(weights=lambda h, o: segment_mean(h, o)[:, 0]),
        r"gives weights of shape \(3,\), and \(9,\) or \(9, any\) was expected",
    ),
    "scores": (
        changed(scores=lambda h, _: h),
        r"gives scores of shape \(9, 4\), and \(9, 1\) was expected of 9 instances",
    ),
    "weights that compete": (changed(weights=lambda h, _: h[:, 0].softmax(0)), "ties bags together"),
    "extras": (changed(extras=lambda h, _: [h]), "gives extras that are a list: give tensors by name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_when_the_model_is_built(make_bags, case):
    model, message = REFUSED[case]
    with pytest.raises(BagwiseError, match=message) as caught:
        bw.NeuralMIL(model=model, epochs=1, random_state=0).fit(make_bags())
    assert "\n" not in str(caught.value)


def test_a_model_and_a_method_that_has_one_are_kept_apart(make_bags):
    with pytest.raises(BagwiseError, match=r"NeuralMIL needs a model: give model="):
        bw.NeuralMIL(epochs=1).fit(make_bags())
    with pytest.raises(BagwiseError, match=r"AttentionMIL has a model of its own: give yours to bagwise\.NeuralMIL"):
        bw.AttentionMIL(model=Plain, epochs=1).fit(make_bags())
    with pytest.raises(BagwiseError, match="a model of your own encodes instances itself: leave encoder out"):
        bw.NeuralMIL(model=Plain, encoder="mi-net", epochs=1).fit(make_bags())


def test_nothing_is_dropped_in_a_model_of_ones_own_unless_asked(make_bags):
    bags = make_bags(count=8)
    assert bw.NeuralMIL(model=Plain, epochs=1, random_state=0).fit(bags).settings_.dropout == 0
    assert set(bw.NeuralMIL._left_open()["dropout"].values()) == {0}
    assert "encoder" not in bw.NeuralMIL._left_open()
    kept, dropped = (bw.NeuralMIL(model=Plain, dropout=rate, epochs=1, random_state=0).fit(bags) for rate in (0, 0.5))
    assert (kept.predict_proba(bags) != dropped.predict_proba(bags)).any()


TAKEN = {"plain": Plain, "frozen": Frozen, "self-attention": SelfAttending, "by class": ByClass}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_fold_ends_as_fit_does_and_bags_do_not_depend_on_their_company(make_bags, kind):
    bags = make_bags(count=16)
    model = bw.NeuralMIL(model=TAKEN[kind], epochs=2, random_state=0)
    found = cross_validate(model, bags, folds=2, n_jobs=1)
    test = np.flatnonzero(found.assignment[0] == 0)
    alone = model.fit(bags[np.flatnonzero(found.assignment[0] != 0)])
    np.testing.assert_array_equal(alone.predict_proba(bags[test]), found.probabilities[0, test])
    np.testing.assert_array_equal(alone.attention(bags[test]), found.attention[0, bags.rows(test)])
    one_by_one = np.concatenate([alone.predict_proba([bag.instances]) for bag in bags])
    np.testing.assert_allclose(alone.predict_proba(bags), one_by_one, atol=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        bw.NeuralMIL(model=partial(Plain, width=3)),
        bw.NeuralMIL(model=Plain((3,), 1)),
        bw.AttentionMIL(encoder=nn.Linear(3, 2)),
        bw.AttentionMIL(loss=type("Doubled", (nn.Module,), {"forward": lambda _, *given: doubled(*given)})()),
    ],
    ids=["partial", "module", "encoder", "loss"],
)
def test_folds_of_what_is_ones_own_train_together(make_bags, monkeypatch, method):
    trained = []
    monkeypatch.setattr(joint, "train", lambda *given, **more: trained.append(given[3]) or train(*given, **more))
    method.set_params(epochs=1, random_state=0)
    before = [value.clone() for value in (method.encoder.parameters() if callable(method.encoder) else [])]
    cross_validate(method, make_bags(), folds=3, n_jobs=1)
    assert [len(members) for members in trained] == [3]
    if before:
        torch.testing.assert_close([*method.encoder.parameters()], before, rtol=0, atol=0)


# ---- losses ---------------------------------------------------------------------------------------------------------


def doubled(output, targets):
    return 2 * targets.loss(output.logits)


def doubled_mean(output, targets):
    return 2 * (targets.weights * targets.loss(output.logits)).mean()


class DoublyLost(Plain):
    def loss(self, output, targets):
        return doubled(output, targets)


@pytest.mark.parametrize("budget", [None, 8], ids=["one bag a step", "several"])
@pytest.mark.parametrize("weighed", [False, True])
def test_losses_count_the_same_however_they_are_given(make_bags, budget, weighed):
    bags = make_bags(count=16)
    weights = np.linspace(0.5, 2, len(bags)) if weighed else None
    options = {"epochs": 3, "patience": 9, "instance_budget": budget, "precision": "float64", "random_state": 0}
    fitted = [
        bw.NeuralMIL(model=model, loss=loss, **options).fit(bags, sample_weight=weights)
        for model, loss in ((DoublyLost, None), (Plain, doubled), (Plain, doubled_mean), (DoublyLost, doubled_mean))
    ]
    first = fitted[0]
    for other in fitted[1:]:
        for one, two in zip(first.history_, other.history_, strict=True):
            if not weighed:  # else one is a weighted mean, and the other a mean of what is weighted
                assert two == pytest.approx(one, rel=1e-9)
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-9)
        np.testing.assert_allclose(other.predict_proba(bags), first.predict_proba(bags), rtol=1e-9)


def test_the_loss_of_the_target_in_its_own_place_changes_nothing(make_bags):
    bags, options = make_bags(classes=3), {"epochs": 3, "patience": 9, "precision": "float64", "random_state": 0}
    plain = bw.NeuralMIL(model=Plain, **options).fit(bags)
    own = bw.NeuralMIL(model=Plain, loss=lambda output, targets: targets.loss(output.logits), **options).fit(bags)
    for one, two in zip(plain.history_, own.history_, strict=True):
        assert two == pytest.approx(one, rel=1e-12)
    np.testing.assert_array_equal(plain.predict_proba(bags), own.predict_proba(bags))


def test_a_loss_on_a_method_of_bagwise_is_learnt_from_too(make_bags):
    bags, options = make_bags(), {"epochs": 3, "precision": "float64", "random_state": 0}
    plain = bw.AttentionMIL(**options).fit(bags)
    own = bw.AttentionMIL(loss=lambda output, targets: targets.loss(output.logits), **options).fit(bags)
    np.testing.assert_allclose(own.predict_proba(bags), plain.predict_proba(bags), rtol=1e-6)


def test_a_loss_sees_labels_weights_heads_scores_and_extras(make_bags):
    bags, seen = make_bags(count=12), []

    class Telling(Plain):
        def aggregate(self, embeddings, offsets):
            output = super().aggregate(embeddings, offsets)
            return output._replace(scores=self.head(embeddings), extras={"embeddings": embeddings})

        def loss(self, output, targets):
            seen.append((output, targets))
            return targets.loss(output.logits) + output.extras["embeddings"].square().mean()

    bw.NeuralMIL(model=Telling, epochs=1, instance_budget=10, random_state=0).fit(
        bags, sample_weight=np.full(len(bags), 0.5)
    )
    labels = torch.cat([targets.labels for _, targets in seen])
    assert sorted(labels.tolist()) == [0.0] * 6 + [1.0] * 6
    for output, targets in seen:
        count, rows = len(targets.labels), int(targets.offsets[-1])
        assert targets.weights.tolist() == [0.5] * count
        assert output.logits.shape == (1, count, 1)
        assert (output.scores.shape, output.extras["embeddings"].shape) == ((rows, 1), (rows, 4))


def test_a_training_that_was_stopped_goes_on_with_its_own_loss_alone(make_bags, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_BETWEEN", 0.0)  # progress is kept after each epoch, however quick that is
    bags, steps = make_bags(count=10), []

    def stopping(output, targets):
        steps.append(len(targets.labels))
        if len(steps) == 25:
            raise KeyboardInterrupt
        return doubled(output, targets)

    stopped = bw.NeuralMIL(model=Plain, loss=stopping, epochs=4, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(bags, checkpoints=tmp_path)
    with pytest.raises(BagwiseError, match="is the checkpoint of a training with other data, members or settings"):
        clone(stopped).set_params(loss=doubled).fit(bags, checkpoints=tmp_path)
    stopped.fit(bags, checkpoints=tmp_path)
    assert len(steps) == 25 + 2 * 10  # two epochs were kept
    whole = clone(stopped).set_params(loss=doubled).fit(bags)
    np.testing.assert_array_equal(stopped.predict_proba(bags), whole.predict_proba(bags))


LOSSES_REFUSED = {
    "a matrix": (lambda output, _: output.logits, r"gives a result of shape \(1, 1, 1\) for 1 bags"),
    "a number": (lambda *_: 0.0, "gives a float for 1 bags: it must give one number a bag"),
    "failing": (lambda _, targets: targets.logits, "fails on 1 bags: .*'logits'"),
}


@pytest.mark.parametrize("case", LOSSES_REFUSED)
def test_a_loss_of_another_shape_is_refused(make_bags, case):
    loss, message = LOSSES_REFUSED[case]
    with pytest.raises(BagwiseError, match=message):
        bw.AttentionMIL(loss=loss, epochs=1, random_state=0).fit(make_bags())


def test_gradients_in_chunks_are_those_of_the_whole_with_a_loss_of_ones_own():
    generator = torch.Generator().manual_seed(0)
    x, offsets = torch.randn(13, 3, generator=generator).double(), torch.tensor([0, 1, 9, 13])

    def loss(output):
        return negative_log_likelihood(output.logits, torch.tensor([1, 0, 1])).mean() + output.weights.square().sum()

    grads = []
    for chunk in (100, 5, 1):
        model = OwnArchitecture(SelfAttending).build((3,), 1, seed=0, dtype=torch.float64)
        accumulate_gradient(model, x, offsets, loss, chunk=chunk, seed=0)
        grads.append(torch.cat([parameter.grad.ravel() for parameter in model.parameters()]))
    for other in grads[1:]:
        torch.testing.assert_close(other, grads[0], rtol=1e-9, atol=1e-12)


class Codes(nn.Module):
    """Says in which of eight corners an instance is, and learns what each means."""

    def __init__(self, instance_shape, outputs):  # noqa: ARG002
        super().__init__()
        self.table = nn.Embedding(8, outputs)

    def encode(self, instances):
        return (instances > 0).long() @ torch.tensor([[1], [2], [4]])

    def aggregate(self, embeddings, offsets):
        return bw.Output(segment_mean(self.table(embeddings[:, 0]), offsets))


class Cut(Plain):
    """Learns nothing through the embeddings."""

    def aggregate(self, embeddings, offsets):
        return super().aggregate(embeddings.detach(), offsets)


@pytest.mark.parametrize("made", [Codes, Cut])
def test_embeddings_without_a_gradient_have_none_to_pass_on(made):
    generator = torch.Generator().manual_seed(0)
    x, offsets = torch.randn(13, 3, generator=generator).double(), torch.tensor([0, 1, 9, 13])
    grads = []
    for chunk in (100, 5):
        model = OwnArchitecture(made).build((3,), 1, seed=0, dtype=torch.float64)
        accumulate_gradient(model, x, offsets, lambda output: output.logits.square().sum(), chunk=chunk, seed=0)
        grads.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert [name for name, one in grads[0].items() if one is None] == (
        ["model.layer.weight", "model.layer.bias"] if made is Cut else []
    )
    for name, gradient in grads[0].items():
        if gradient is None:
            assert grads[1][name] is None
        else:
            torch.testing.assert_close(grads[1][name], gradient, rtol=1e-12, atol=1e-12)
            assert gradient.abs().sum() > 0


# ---- coordinates ----------------------------------------------------------------------------------------------------


class West(Pooling):
    """The instance farthest west."""

    wants_coordinates = True

    def forward(self, values, offsets, coordinates):
        weights = (
            coordinates[:, :1] == -segment_max(-coordinates[:, :1], offsets).repeat_interleave(torch.diff(offsets), 0)
        ).to(values.dtype)
        return Pooled(segment_sum(weights * values, offsets), weights[:, 0])


def places(bags):
    """Coordinates that say which instance is where: x is its first value."""
    return np.stack([bags.instances[:, 0], np.arange(len(bags.instances))], axis=1)


@pytest.mark.parametrize("level", ["pooling", "model"])
@pytest.mark.parametrize("sample", [None, 2])
def test_coordinates_keep_to_their_instances(make_bags, level, sample):
    seen = []

    class Spy(Plain):
        wants_coordinates = True

        def encode(self, instances):
            return torch.cat([super().encode(instances), instances[:, :1]], 1)

        def aggregate(self, embeddings, offsets, coordinates):
            if torch.is_grad_enabled():
                seen.append((embeddings[:, 4], coordinates[:, 0]))
            return super().aggregate(embeddings[:, :4], offsets)

    class SpyPooling(West):
        def forward(self, values, offsets, coordinates):
            if torch.is_grad_enabled():
                seen.append((values[:, 0], coordinates[:, 0]))
            return super().forward(values, offsets, coordinates)

    plain = make_bags()
    bags = bw.Bags(plain.instances, plain.offsets, plain.labels, coordinates=places(plain))
    options = {
        "sample": sample,
        "instance_budget": 6,
        "standardize": False,
        "dropout": 0.0,
        "epochs": 2,
        "random_state": 0,
    }
    if level == "model":
        model = bw.NeuralMIL(model=Spy, **options)
    else:
        model = bw.EmbeddingMIL(pooling=SpyPooling, encoder="identity", **options)
    model.fit(bags)
    assert seen
    for values, x in seen:
        torch.testing.assert_close(values, x)
    assert model.instance_scores(bags).shape == (len(bags.instances),)
    with pytest.raises(BagwiseError, match="the model asks for the coordinates of instances, and these bags have none"):
        model.predict_proba(plain)
    with pytest.raises(BagwiseError, match="the model asks for the coordinates of instances, and these bags have none"):
        model.fit(plain)


# ---- weights of several heads or classes ----------------------------------------------------------------------------


@pytest.mark.parametrize("positive", ["benign", "malignant"])
def test_weights_of_classes_are_in_the_order_of_the_classes(make_bags, positive):
    bags = make_bags(kind="string", count=12)
    model = bw.NeuralMIL(model=ByClass, positive=positive, epochs=2, random_state=0).fit(bags)
    weights = model.attention(bags)
    h = model.model_.encode(torch.from_numpy(bags.instances).float())
    raw = model.model_.aggregate(h, torch.from_numpy(bags.offsets)).weights.detach().numpy()
    for column, name in enumerate(model.classes_):
        np.testing.assert_allclose(weights[:, column], raw[:, int(name == positive)], rtol=1e-5)
    found = explain(model, bags)
    table = found.table(bags)
    bag = np.repeat(np.arange(len(bags)), bags.sizes)
    for column, name in enumerate(model.classes_):
        np.testing.assert_array_equal(table[f"weight_{name}"], weights[:, column])
        of_class = found.predicted[bag] == name
        np.testing.assert_array_equal(table["weight"][of_class], weights[of_class, column])


@pytest.mark.parametrize("kind", ["real", "ordinal", "multi-label", "survival"])
def test_weights_of_classes_are_heads_where_no_class_is_chosen_by_column(make_bags, kind):
    bags = make_bags(count=16)
    top = np.maximum.reduceat(bags.instances[:, 0], bags.offsets[:-1])
    labels = {
        "real": top,
        "ordinal": np.digitize(top, np.quantile(top, [0.3, 0.6])),
        "multi-label": np.stack([top > 0.5, top > 1], axis=1).astype(float),
        "survival": np.array([(True, np.exp(-value)) for value in top], [("event", bool), ("time", float)]),
    }[kind]

    class ByOutput(Plain):
        weight_axis = "classes"

        def aggregate(self, embeddings, offsets):
            output = super().aggregate(embeddings, offsets)
            return output._replace(weights=output.weights[:, None].expand(-1, max(2, self.outputs)))

    bags = bw.Bags(bags.instances, bags.offsets, labels)
    model = bw.NeuralMIL(model=ByOutput, epochs=1, random_state=0)
    model.target = kind
    found = explain(model.fit(bags), bags)
    np.testing.assert_allclose(found.weights, model.attention(bags)[:, 0], rtol=1e-6)
    names = model.target_.names if kind == "multi-label" else (1, 2)  # whose columns are of labels
    assert {"weight", *(f"weight_{name}" for name in names)} <= set(found.table(bags))


class Heads(Pooling):
    def __init__(self, width, heads=3):
        super().__init__(width)
        self.score = nn.Linear(width, heads)

    def forward(self, values, offsets):
        weights = segment_softmax(self.score(values), offsets)
        bags = [segment_weighted_sum(weights[:, head : head + 1], values, offsets) for head in range(weights.shape[1])]
        return Pooled(torch.cat(bags, dim=1), weights)


def test_heads_stand_side_by_side_and_their_mean_ranks(make_bags):
    bags = make_bags(count=12)
    models = bw.fit_ensemble(bw.EmbeddingMIL(pooling=Heads, epochs=2, random_state=0), bags, 2)
    assert models[0].model_.head.in_features == 3 * 64
    weights = np.mean([model.attention(bags) for model in models], axis=0)
    assert weights.shape == (len(bags.instances), 3)
    found = explain(models, bags)
    np.testing.assert_allclose(found.importance, weights.mean(axis=1), rtol=1e-6)
    table = found.table(bags)
    np.testing.assert_array_equal(table[["weight_1", "weight_2", "weight_3"]], weights)
    validated = cross_validate(models[0], bags, folds=2, n_jobs=1)
    assert validated.attention.shape == (1, len(bags.instances), 3)


def test_a_pooling_of_ones_own_at_the_instance_level_may_weigh(make_bags):
    class Weighing(Pooling):
        def forward(self, values, offsets):
            weights = segment_softmax(values[:, 0], offsets)
            return Pooled(segment_sum(weights[:, None] * values, offsets), weights)

    bags = make_bags()
    model = bw.InstanceMIL(pooling=Weighing, epochs=1, random_state=0).fit(bags)
    np.testing.assert_allclose(np.add.reduceat(model.attention(bags), bags.offsets[:-1]), 1, rtol=1e-6)
    with pytest.raises(BagwiseError, match="the model gives no weights of instances: ask for instance_scores"):
        bw.InstanceMIL(pooling=Mean, epochs=1, random_state=0).fit(bags).attention(bags)
