"""MI-Kernel without what makes it fast: a kernel a choice, of all pairs, and of each bag with itself once more."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import workloads
from numpy.typing import NDArray
from ours import validating
from pace import run
from sklearn.metrics.pairwise import rbf_kernel

from bagwise.methods.classical.machines import Machine
from bagwise.methods.classical.packed import Packed
from bagwise.methods.classical.set_kernels import SetKernelSVM
from bagwise.methods.classical.whole_bags import View, Views, WholeBags

_BLOCK_ROWS = 1024


class Kernel(Views):
    """One kernel between bags, as the papers have it."""

    def __init__(self, training: Packed, gamma: float) -> None:
        self.bags, self.gamma, self.norms = training, gamma, roots(training, gamma)
        self.training = self.of(training)

    def of(self, bags: Packed) -> list[NDArray[np.float64]]:
        kernel = np.empty((len(bags.sizes), len(self.bags.sizes)))
        begin = 0
        while begin < len(kernel):
            fitting = int(np.searchsorted(bags.offsets, bags.offsets[begin] + _BLOCK_ROWS, side="right")) - 1
            end = max(begin + 1, fitting)
            values = rbf_kernel(bags.instances[slice(*bags.offsets[[begin, end]])], self.bags.instances, self.gamma)
            summed = np.add.reduceat(values, bags.offsets[begin:end] - bags.offsets[begin], axis=0)
            kernel[begin:end] = np.add.reduceat(summed, self.bags.offsets[:-1], axis=1)
            begin = end
        return [kernel / (roots(bags, self.gamma)[:, None] * self.norms)]

    def learner(self, machines: Sequence[Machine]) -> WholeBags:
        return WholeBags(AllBags(self), tuple(machines))


class AllBags(View):
    """A kernel with all training bags, whether they count or not."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def of(self, bags: Packed) -> NDArray[np.float64]:
        return self.kernel.of(bags)[0]

    def check(self, width: int) -> int:  # noqa: ARG002
        return len(self.kernel.bags.sizes)


def roots(bags: Packed, gamma: float) -> NDArray[np.float64]:
    parts = np.split(bags.instances, bags.offsets[1:-1])
    return np.sqrt([rbf_kernel(part, gamma=gamma).sum() for part in parts])


class Before(SetKernelSVM):
    """MI-Kernel that shares nothing."""

    def _views(self, bags: Packed, points: Sequence[Mapping[str, Any]], seed: int) -> Views:  # noqa: ARG002
        (point,) = points
        return Kernel(bags, point["gamma"] / (bags.instances.shape[1] * bags.instances.var()))

    def _decided(
        self,
        train: Packed,
        columns: NDArray[Any],
        test: Packed,
        points: Sequence[Mapping[str, Any]],
        seed: int,
    ) -> list[NDArray[np.float64]]:
        return [super(Before, self)._decided(train, columns, test, [point], seed)[0] for point in points]


if __name__ == "__main__":
    run({"elephant": lambda *_: validating(Before(random_state=0), workloads.classical("elephant", 1))})
