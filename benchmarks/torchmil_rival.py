"""torchmil as a contender, by its own Trainer, dataset collation and attention model."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
import workloads
from pace import Lap, run
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmil.data import collate_fn
from torchmil.models import ABMIL
from torchmil.utils import Trainer


class InMemory(Dataset[dict[str, Tensor]]):
    """Bags as torchmil's collation wants them."""

    def __init__(self, bags: list[Tensor], labels: np.ndarray) -> None:
        self.items = [{"X": bag, "Y": torch.tensor(int(label))} for bag, label in zip(bags, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return self.items[number]


class OnImages(nn.Module):
    """LeNet5 on images of shape (bags, instances, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU()),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images.flatten(0, 1))
        return features.reshape(*images.shape[:2], -1)


def on_vectors(features: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width, following in zip((features, *workloads.WIDTHS), workloads.WIDTHS, strict=False):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(workloads.DROPOUT))


def trainer(bags: list[Tensor], labels: np.ndarray, model: ABMIL, optimizer: torch.optim.Optimizer, batch: int) -> Lap:
    data = InMemory(bags, labels)
    loader = DataLoader(data, batch_size=batch, shuffle=True, collate_fn=collate_fn)
    # It validates after every epoch; one bag is the least it can be given.
    one = DataLoader(InMemory(bags[:1], labels[:1]), batch_size=1, collate_fn=collate_fn)
    own = Trainer(model, optimizer, device="cpu", disable_pbar=True, verbose=False)

    def lap() -> float:
        own.train(1, loader, one)
        return 1

    return lap


def sgd(model: ABMIL) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(),
        lr=workloads.LEARNING_RATE,
        momentum=workloads.MOMENTUM,
        nesterov=True,
        weight_decay=workloads.WEIGHT_DECAY,
    )


def musk1(share: int, shares: int) -> Lap:
    work = workloads.musk1()
    laps = []
    for fold in work.folds[share::shares]:
        rows = np.concatenate([work.bag(position) for position in fold]).astype(np.float64)
        mean, spread = rows.mean(0), rows.std(0)
        spread[spread == 0] = 1
        bags = [torch.from_numpy(((work.bag(position) - mean) / spread).astype(np.float32)) for position in fold]
        model = ABMIL((166,), att_dim=workloads.HIDDEN, feat_ext=on_vectors(166))
        laps.append(trainer(bags, work.labels[fold], model, sgd(model), batch=1))

    def lap() -> float:
        for one in laps:
            one()
        return 1

    return lap


def mnist(batch: int) -> Lap:
    work = workloads.mnist()
    bags = [torch.from_numpy(work.bag(bag)).float().unsqueeze(1) / 255 for bag in range(len(work.labels))]
    model = ABMIL((1, 1, 28, 28), att_dim=128, feat_ext=OnImages())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=1e-4)
    epoch = trainer(bags, work.labels, model, optimizer, batch)
    return lambda: epoch() * len(work.instances)


def slides(batch: int) -> Lap:
    work = workloads.slides()
    bags = [torch.from_numpy(work.bag(bag)) for bag in range(len(work.labels))]
    model = ABMIL((1024,), att_dim=workloads.HIDDEN, feat_ext=on_vectors(1024))
    return trainer(bags, work.labels, model, sgd(model), batch)


def batched(work: Callable[[int], Lap], batch: int) -> Callable[..., Lap]:
    def ready(*_: int) -> Lap:
        torch.set_num_threads(1)
        return work(batch)

    return ready


def one_thread(*shares: int) -> Lap:
    torch.set_num_threads(1)
    return musk1(*shares)


if __name__ == "__main__":
    run(
        {"musk1": one_thread, "slides-4": batched(slides, 4)}
        | {f"mnist-{batch}": batched(mnist, batch) for batch in (1, 2, 4, 8, 16)}
    )
