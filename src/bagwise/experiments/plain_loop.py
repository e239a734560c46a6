"""A loop over slides as people write it: gated attention in plain PyTorch, one slide a step, Adam, early stopping."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.bags import Bags

__all__ = ["plain_loop"]


class _GatedABMIL(nn.Module):
    def __init__(self, features: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout))
        self.V, self.U, self.w = nn.Linear(width, 128), nn.Linear(width, 128), nn.Linear(128, 1)
        self.head = nn.Linear(width, classes)

    def forward(self, patches: Tensor) -> Tensor:
        h = self.encoder(patches)
        weights = torch.softmax(self.w(torch.tanh(self.V(h)) * torch.sigmoid(self.U(h))), dim=0)
        logits: Tensor = self.head((weights * h).sum(dim=0, keepdim=True))
        return logits


def plain_loop(
    bags: Bags,
    seed: int,
    *,
    width: int = 256,
    dropout: float = 0.5,
    rate: float = 2e-4,
    patience: int = 10,
    epochs: int = 100,
) -> tuple[Callable[[Bags], NDArray[np.float64]], int]:
    """Train gated attention (paper, equation 9) without Bagwise.

    Features are standardised over all that is learnt from; a fifth of the slides decides when to stop, by its loss, and
    the best weights are taken.

    Parameters
    ----------
    bags
        Vectors of float32, with labels 0, 1, ....
    seed
        Decides initial weights, dropout, the order of slides and which are held out.
    width
        Of the encoder's one layer.
    dropout
        After it.
    rate
        The learning rate of Adam, whose weight decay is 1e-5.
    patience, epochs
        Stop after so many epochs without a lower loss, and after so many in any case.

    Returns
    -------
    tuple
        What gives probabilities of bags, shape (B, C), and the number of epochs.

    Examples
    --------
    >>> arrays = [np.full((3, 2), bag % 2, np.float32) for bag in range(10)]
    >>> bags = Bags.from_arrays(arrays, labels=[bag % 2 for bag in range(10)])
    >>> predict, epochs = plain_loop(bags, seed=0, epochs=2)
    >>> predict(bags).shape, epochs
    ((10, 2), 2)
    """
    assert bags.labels is not None
    rng = np.random.default_rng(seed)
    instances = torch.from_numpy(np.array(bags.instances))
    mean, spread = instances.mean(dim=0), instances.std(dim=0)
    slides = ((instances - mean) / spread).split(bags.sizes.tolist())
    labels = torch.from_numpy(bags.labels.astype(np.int64))
    order = rng.permutation(len(bags))
    held_out, learnt = order[: len(order) // 5], order[len(order) // 5 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _GatedABMIL(bags.instance_shape[0], len(np.unique(bags.labels)), width, dropout)
        optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=1e-5)
        lowest, best, state, epoch = np.inf, 0, model.state_dict(), 0
        for epoch in range(1, epochs + 1):
            model.train()
            for slide in rng.permutation(learnt):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(slides[slide]), labels[slide : slide + 1]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                logits = torch.cat([model(slides[slide]) for slide in held_out])
                loss = float(nn.functional.cross_entropy(logits, labels[held_out]))
            if loss < lowest:
                lowest, best = loss, epoch
                state = {name: value.clone() for name, value in model.state_dict().items()}
            if epoch - best >= patience:
                break
    model.load_state_dict(state)

    def predict(asked: Bags) -> NDArray[np.float64]:
        with torch.no_grad():
            parts = torch.from_numpy(np.array(asked.instances)).split(asked.sizes.tolist())
            logits = torch.cat([model((part - mean) / spread) for part in parts])
        return torch.softmax(logits.double(), dim=1).numpy()

    return predict, epoch
