"""A vector for each bag, and what is linear in the vectors: miVLAD and miFV."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import normalize
from sklearn.svm import SVC

from bagwise.methods.classical.base import Grid
from bagwise.methods.classical.packed import Packed
from bagwise.methods.classical.whole_bags import Views, WholeBagMIL
from bagwise.parameters import Count, Positive

__all__ = ["VLADSVM", "FisherVectorSVM", "fisher_vectors", "vlad_vectors"]


def vlad_vectors(bags: Packed, codebook: KMeans) -> NDArray[np.float64]:
    """Sum, for each codeword, the differences between it and the instances of a bag that are nearest to it.

    Parameters
    ----------
    bags
        The bags.
    codebook
        Fitted k-means; its centres are the codewords.

    Returns
    -------
    array
        Shape (B, codewords x D), with signed square roots taken and unit length.

    References
    ----------
    X.-S. Wei, J. Wu, Z.-H. Zhou: Scalable Algorithms for Multi-Instance Learning. TNNLS 2017.

    Examples
    --------
    >>> bags = Packed(np.array([[1.0], [2.0], [9.0]]), np.array([0, 2, 3]))
    >>> vlad_vectors(bags, KMeans(1, n_init=1).fit([[0.0], [0.0]])).tolist()
    [[1.0], [1.0]]
    """
    centres = codebook.cluster_centers_
    word = codebook.predict(bags.instances)
    differences = np.zeros((len(bags.instances), *centres.shape))
    differences[np.arange(len(word)), word] = bags.instances - centres[word]
    return _power_normalized(bags.sums(differences).reshape(len(bags.sizes), -1))


def fisher_vectors(bags: Packed, mixture: GaussianMixture) -> NDArray[np.float64]:
    """Give the gradient of a bag's mean log-likelihood with regard to the weights, means and variances of a mixture.

    Parameters
    ----------
    bags
        The bags.
    mixture
        Fitted, with diagonal covariances.

    Returns
    -------
    array
        Shape (B, modes x (1 + 2 D)), scaled by the diagonal Fisher information, with signed square roots taken and
        unit length.

    References
    ----------
    X.-S. Wei, J. Wu, Z.-H. Zhou: Scalable Algorithms for Multi-Instance Learning. TNNLS 2017.

    Examples
    --------
    >>> bags = Packed(np.array([[1.0], [2.0], [9.0]]), np.array([0, 2, 3]))
    >>> mixture = GaussianMixture(1, covariance_type="diag", random_state=0).fit(bags.instances)
    >>> fisher_vectors(bags, mixture).shape
    (2, 3)
    """
    shares, means, spreads = mixture.weights_, mixture.means_, np.sqrt(mixture.covariances_)
    posterior = mixture.predict_proba(bags.instances)
    scaled = (bags.instances[:, None] - means) / spreads
    count = bags.sizes[:, None]
    by_weight = bags.sums(posterior - shares) / (count * np.sqrt(shares))
    weighted = posterior[:, :, None] / np.sqrt(shares)[:, None]
    by_mean = bags.sums(weighted * scaled) / count[:, :, None]
    by_spread = bags.sums(weighted * (scaled**2 - 1)) / (count[:, :, None] * np.sqrt(2))
    parts = [part.reshape(len(count), -1) for part in (by_weight, by_mean, by_spread)]
    return _power_normalized(np.concatenate(parts, axis=1))


def _power_normalized(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    normalized: NDArray[np.float64] = normalize(np.sign(vectors) * np.sqrt(np.abs(vectors)))
    return normalized


_VectorsOf = Callable[[Packed], NDArray[np.float64]]


class _Vectors(Views):
    """What makes a vector of a bag, for each point of a grid, and the vectors of training bags."""

    def __init__(self, training: Packed, vectors_of: Sequence[_VectorsOf]) -> None:
        self.vectors_of = vectors_of
        self.training = self.of(training)

    def of(self, bags: Packed) -> list[NDArray[np.float64]]:
        """Give the vectors of bags, shape (B, V)."""
        found = {make: make(bags) for make in dict.fromkeys(self.vectors_of)}
        return [found[make] for make in self.vectors_of]


class _OnVectors(WholeBagMIL):
    """What miVLAD and miFV share."""

    @abstractmethod
    def _vectors_of(self, bags: Packed, parameters: Mapping[str, Any], seed: int) -> _VectorsOf:
        """Learn from instances alone how a bag becomes a vector."""

    def _machine(self, seen: NDArray[np.float64], C: float, *, of_numbers: bool) -> BaseEstimator:  # noqa: ARG002
        return Ridge(alpha=1 / C) if of_numbers else SVC(kernel="linear", C=C)

    def _views(self, bags: Packed, points: Sequence[Mapping[str, Any]], seed: int) -> Views:
        # What is learnt of instances alone does not depend on the price of a bag.
        makers: dict[tuple[Any, ...], _VectorsOf] = {}
        apart = [tuple(value for name, value in point.items() if name != "C") for point in points]
        for point, others in zip(points, apart, strict=True):
            if others not in makers:
                makers[others] = self._vectors_of(bags, point, seed)
        return _Vectors(bags, [makers[others] for others in apart])


@dataclass(kw_only=True, eq=False, repr=False)
class VLADSVM(_OnVectors):
    """miVLAD: describe a bag by its differences from the codewords of a vocabulary (Wei et al., 2017).

    Parameters
    ----------
    codewords
        How many centres k-means finds among the training instances (at most as many as there are); None chooses.
    C
        The price of a training bag on the wrong side of the margin; of numbers, which ridge regression learns, what
        their squared errors count for beside the squared weights. None chooses.
    target, positive, standardize, random_state
        As in `ClassicalMIL`.

    References
    ----------
    X.-S. Wei, J. Wu, Z.-H. Zhou: Scalable Algorithms for Multi-Instance Learning. TNNLS 2017.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("miVLAD", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    GRID: ClassVar[Grid] = tuple({"codewords": codewords, "C": C} for codewords in (1, 4) for C in (1.0, 10.0))

    codewords: Count | None = None
    C: Positive | None = None

    def _vectors_of(self, bags: Packed, parameters: Mapping[str, Any], seed: int) -> _VectorsOf:
        words = min(parameters["codewords"], len(np.unique(bags.instances, axis=0)))
        codebook = KMeans(words, n_init=1, random_state=seed).fit(bags.instances)
        return partial(vlad_vectors, codebook=codebook)


@dataclass(kw_only=True, eq=False, repr=False)
class FisherVectorSVM(_OnVectors):
    """miFV: describe a bag by the change in a mixture of Gaussians that would fit it better (Wei et al., 2017).

    Parameters
    ----------
    modes
        Number of Gaussians, with diagonal covariances, that are fitted to the training instances (at most as many as
        there are); None chooses.
    energy
        The share of the variance that is kept by principal components, above 0 and at most 1; None chooses.
    C
        As in `VLADSVM`; None takes 1.
    target, positive, standardize, random_state
        As in `ClassicalMIL`.

    References
    ----------
    X.-S. Wei, J. Wu, Z.-H. Zhou: Scalable Algorithms for Multi-Instance Learning. TNNLS 2017.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("miFV", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    GRID: ClassVar[Grid] = tuple(
        {"modes": modes, "energy": energy, "C": 1.0} for modes in (1, 4) for energy in (0.8, 0.9)
    )

    modes: Count | None = None
    energy: Annotated[float, Interval(gt=0, le=1)] | None = None
    C: Positive | None = None

    def _vectors_of(self, bags: Packed, parameters: Mapping[str, Any], seed: int) -> _VectorsOf:
        components = _components(bags.instances, parameters["energy"])
        reduced = components.transform(bags.instances)
        modes = min(parameters["modes"], len(np.unique(bags.instances, axis=0)))
        mixture = GaussianMixture(modes, covariance_type="diag", random_state=seed).fit(reduced)
        return partial(_reduced_fisher_vectors, components=components, mixture=mixture)


def _components(instances: NDArray[np.float64], energy: float) -> PCA:
    """Keep the fewest principal components that hold a share of the variance, and none that holds nothing."""
    with np.errstate(invalid="ignore"):  # shares of no variance at all
        full = PCA(svd_solver="full").fit(instances)
    shares = np.nan_to_num(full.explained_variance_ratio_, nan=0.0)
    real = max(1, int((shares > np.finfo(np.float64).eps * len(shares)).sum()))
    wanted = int(np.searchsorted(np.cumsum(shares), energy * shares.sum() * (1 - 1e-12))) + 1
    with np.errstate(invalid="ignore"):
        return PCA(min(wanted, real), svd_solver="full").fit(instances)


def _reduced_fisher_vectors(bags: Packed, components: PCA, mixture: GaussianMixture) -> NDArray[np.float64]:
    return fisher_vectors(Packed(components.transform(bags.instances), bags.offsets), mixture)
