"""The loop that a researcher writes in plain PyTorch: one model at a time, one bag a step."""

import numpy as np
import torch
import workloads
from pace import Lap, run
from torch import Tensor, nn
from workloads import Workload


class AttentionModel(nn.Module):
    """MI-Net's layers, attention (Ilse et al., equation 8), one logit."""

    def __init__(self, features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, following in zip((features, *workloads.WIDTHS), workloads.WIDTHS, strict=False):
            layers += [nn.Linear(width, following), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Dropout(workloads.DROPOUT))
        self.attention = nn.Sequential(
            nn.Linear(workloads.WIDTHS[-1], workloads.HIDDEN, bias=False),
            nn.Tanh(),
            nn.Linear(workloads.HIDDEN, 1, bias=False),
        )
        self.head = nn.Linear(workloads.WIDTHS[-1], 1)

    def forward(self, bag: Tensor) -> Tensor:
        h = self.encoder(bag)
        weights = torch.softmax(self.attention(h), dim=0)
        logit: Tensor = self.head(weights.T @ h)
        return logit.squeeze()


def folds_of(work: Workload, epochs: int, folds: list[np.ndarray], standardise: bool, fused: bool = False) -> Lap:
    torch.set_num_threads(1)
    labels = torch.from_numpy(work.labels).float()
    trainings = []
    for fold in folds:
        bags = {int(position): work.bag(position) for position in fold}
        if standardise:
            rows = np.concatenate(list(bags.values())).astype(np.float64)
            mean, spread = rows.mean(0), rows.std(0)
            spread[spread == 0] = 1
            bags = {position: ((bag - mean) / spread).astype(np.float32) for position, bag in bags.items()}
        model = AttentionModel(work.instances.shape[1])
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=workloads.LEARNING_RATE,
            momentum=workloads.MOMENTUM,
            nesterov=True,
            weight_decay=workloads.WEIGHT_DECAY,
            fused=fused,
        )
        trainings.append(({position: torch.from_numpy(bag) for position, bag in bags.items()}, model, optimizer))
    rng = np.random.default_rng(0)

    def lap() -> float:
        for bags, model, optimizer in trainings:
            model.train()
            for _ in range(epochs):
                for position in rng.permutation(list(bags)).tolist():
                    optimizer.zero_grad()
                    loss = nn.functional.binary_cross_entropy_with_logits(model(bags[position]), labels[position])
                    loss.backward()
                    optimizer.step()
        return epochs

    return lap


def musk1(share: int, shares: int) -> Lap:
    work = workloads.musk1()
    return folds_of(work, 2, work.folds[share::shares], standardise=True)


def own_pooling(*_: int) -> Lap:
    work = workloads.musk1(repeats=1)
    return folds_of(work, 2, work.folds, standardise=True, fused=True)


def slides(*_: int) -> Lap:
    work = workloads.slides()
    return folds_of(work, 1, [np.arange(len(work.labels))], standardise=False)


def encoding(network: nn.Module) -> Lap:
    """Nothing but an encoder of digits, forward and backward, in the layout that is fastest here."""
    work = workloads.mnist()
    torch.set_num_threads(1)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # which takes modules, too
    images = [torch.from_numpy(work.bag(position)).float() / 255 for position in range(len(work.labels))]
    ones = [torch.ones(len(bag), 500) for bag in images]

    def lap() -> float:
        for bag, gradient in zip(images, ones, strict=True):
            network.zero_grad()
            network(bag).backward(gradient)
        return len(work.instances)

    return lap


def encoder(*_: int) -> Lap:
    return encoding(
        nn.Sequential(
            nn.Unflatten(1, (1, 28)),
            nn.Conv2d(1, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(800, 500),
            nn.ReLU(),
        )
    )


if __name__ == "__main__":
    run({"musk1": musk1, "own-pooling": own_pooling, "slides": slides, "encoder": encoder})
