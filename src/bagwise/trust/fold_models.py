"""The models of the folds, each of which did not learn from a part of the training bags, asked together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.methods.asked import Asked, ask

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.models.model import Output

__all__ = ["FoldAnswers", "ask_folds"]


class FoldAnswers(NamedTuple):
    """What the models of K folds say of bags.

    Attributes
    ----------
    answers
        Shape (K, B, A); where a model is an ensemble the mean over its members.
    vectors
        Where each model has a bag, the vector that it classifies, shape (K, B, E), of an ensemble the first member's;
        None where models have none.
    """

    answers: NDArray[np.floating]
    vectors: NDArray[np.floating] | None


def ask_folds(members: Sequence[Asked], folds: int, bags: Bags) -> FoldAnswers:
    """Ask the models of folds about bags, neural ones in one pass over these.

    Parameters
    ----------
    members
        Fitted: the members of the first fold's model, then those of the second, ...; as many of each.
    folds
        K.
    bags
        The bags.

    Returns
    -------
    FoldAnswers

    Raises
    ------
    BagwiseError
        If the bags are not like those learnt from.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])
    >>> models = [bw.AttentionMIL(epochs=1, random_state=0).fit(bags) for fold in range(2)]
    >>> said = ask_folds(models, 2, bags[:3])
    >>> said.answers.shape, said.vectors.shape
    ((2, 3, 2), (2, 3, 64))
    """
    found = _with_vectors(members, folds, bags) if hasattr(members[0], "model_") else None
    said, vectors = found or (np.stack([one.answers for one in ask(members, bags)]), None)
    return FoldAnswers(said.reshape(folds, -1, *said.shape[1:]).mean(axis=1), vectors)


def _with_vectors(members: Sequence[Any], folds: int, bags: Bags) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Ask neural models, and listen to what reaches the classifier of the first member of each fold."""
    from bagwise.methods.fitted import bag_answers  # loads PyTorch
    from bagwise.training.data import PackedTensors
    from bagwise.training.device import resolve_device
    from bagwise.training.inference import predict

    first, size = members[0], len(members) // folds
    heads = [member.model_.classifier for member in members[::size]]
    if heads[0] is None:
        return None
    bags, device = first._like_learnt(bags), resolve_device(first.device, first.precision)
    heard: dict[int, Tensor] = {}
    vectors: list[list[Any]] = [[None] * len(bags) for _ in range(folds)]

    def note(number: int, batch: NDArray[np.int64], output: "Output") -> None:  # noqa: ARG001
        if number % size == 0:
            for bag, vector in zip(batch.tolist(), heard[number // size].float().cpu().numpy(), strict=True):
                vectors[number // size][bag] = vector

    listening = [
        head.register_forward_pre_hook(lambda _, given, fold=fold: heard.__setitem__(fold, given[0]))
        for fold, head in enumerate(heads)
        if head is not None
    ]
    try:
        said = predict(
            [member.model_.to(device) for member in members],
            PackedTensors(bags),
            [np.arange(len(bags))] * len(members),
            device=device,
            chunk=first.plan_.chunk,
            precision=first.precision,
            seen=note,
        )
    finally:
        for hook in listening:
            hook.remove()
    answers = [bag_answers(member, one) for member, one in zip(members, said, strict=True)]
    return np.stack(answers), np.array(vectors)
