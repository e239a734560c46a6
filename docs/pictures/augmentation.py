"""Draw `docs/images/augmentation.png`: patches of tissue as they are, as training may see them, and normalised.

Run it as `python docs/pictures/augmentation.py`; the images are found where `bagwise.datasets.data_directory` looks.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from bagwise import Bags, normalise_stain, stain_reference
from bagwise.datasets import breast_cancer, colon_cancer, data_directory
from bagwise.training.augmentation import tissue

SHOWN, DRAWN = 4, 6  # patches of each set, and what training may see of each
MARGIN, SIDE = 9, 27  # of the colon set, as the tables are trained


def columns(bags: Bags, side: int | None) -> list[np.ndarray]:
    """Give patches as they are, some of what becomes of them, and the same with the stain of the whole set."""
    chosen = np.linspace(0, len(bags) - 1, SHOWN).astype(int)
    middle = [int(bags.offsets[bag] + bags.sizes[bag] // 2) for bag in chosen]
    patches = bags.instances[middle]
    generator = torch.Generator().manual_seed(0)
    changed = [tissue(torch.from_numpy(patches), generator, side).round().byte().numpy() for _ in range(DRAWN)]
    one_each = normalise_stain(bags[chosen], stain_reference(bags))
    normalised = one_each.instances[one_each.offsets[:-1] + bags.sizes[chosen] // 2]
    cut = slice(None) if side is None else slice(MARGIN, MARGIN + SIDE)
    return [patches[:, cut, cut], *changed, normalised[:, cut, cut]]


def main() -> None:
    """Draw both sets, one above the other."""
    folder = Path(data_directory(None))
    sets = [
        (colon_cancer(folder / "colon_cancer", margin=MARGIN), SIDE),
        (breast_cancer(folder / "breast_cancer"), None),
    ]
    figure, axes = plt.subplots(2 * SHOWN, DRAWN + 2, figsize=(8, 8.4), layout="constrained")
    for number, (bags, side) in enumerate(sets):
        for across, patches in enumerate(columns(bags, side)):
            for down, patch in enumerate(patches):
                place = axes[number * SHOWN + down, across]
                place.imshow(patch, interpolation="nearest")
                place.set(xticks=[], yticks=[])
    for place, title in zip(axes[0], ["as it is", *["training"] * DRAWN, "normalised"], strict=True):
        place.set_title(title, fontsize=9)
    for number, name in enumerate(("colon", "breast")):
        axes[number * SHOWN, 0].set_ylabel(name, fontsize=9)
    figure.savefig(Path(__file__).parents[1] / "images" / "augmentation.png", dpi=110)


if __name__ == "__main__":
    main()
