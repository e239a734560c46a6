"""A vector for each bag, and what is linear in the vectors: miVLAD and miFV."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import normalize
from sklearn.svm import SVC

from bagwise.methods.classical.base import Grid
from bagwise.methods.classical.machines import Machine
from bagwise.methods.classical.packed import Packed
from bagwise.methods.classical.whole_bags import View, Views, WholeBagMIL, WholeBags
from bagwise.parameters import Count, Positive

__all__ = ["VLADSVM", "Codebook", "FisherVectorSVM", "Mixture", "Reduced", "fisher_vectors", "vlad_vectors"]


def vlad_vectors(bags: Packed, centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum, for each codeword, the differences between it and the instances of a bag that are nearest to it.

    Parameters
    ----------
    bags
        The bags.
    centres
        The codewords, shape (K, D).

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
    >>> vlad_vectors(bags, np.array([[0.0]])).tolist()
    [[1.0], [1.0]]
    """
    word = cdist(bags.instances, centres, "sqeuclidean").argmin(axis=1)
    differences = np.zeros((len(bags.instances), *centres.shape))
    differences[np.arange(len(word)), word] = bags.instances - centres[word]
    return _power_normalized(bags.sums(differences).reshape(len(bags.sizes), -1))


class Mixture(NamedTuple):
    """A mixture of Gaussians, each feature with a spread of its own.

    Attributes
    ----------
    shares
        What each Gaussian is of all, shape (M,).
    means, spreads
        Shape (M, D).

    Examples
    --------
    >>> mixture = Mixture(np.ones(2) / 2, np.array([[0.0], [9.0]]), np.ones((2, 1)))
    >>> mixture.posterior(np.array([[0.0]])).round(9).tolist()
    [[1.0, 0.0]]
    """

    shares: Annotated[NDArray[np.float64], "M"]
    means: Annotated[NDArray[np.float64], "M D"]
    spreads: Annotated[NDArray[np.float64], "M D"]

    def posterior(self, instances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Say how probable it is that each instance is of each Gaussian, shape (N, M)."""
        logarithms = np.log(self.shares) - np.log(self.spreads).sum(axis=1)
        far = [(((instances - mean) / spread) ** 2).sum(axis=1) for mean, spread in zip(*self[1:], strict=True)]
        posterior: NDArray[np.float64] = softmax(logarithms - np.stack(far, axis=1) / 2, axis=1)
        return posterior


def fisher_vectors(bags: Packed, mixture: Mixture) -> NDArray[np.float64]:
    """Give the gradient of a bag's mean log-likelihood with regard to the weights, means and variances of a mixture.

    Parameters
    ----------
    bags
        The bags.
    mixture
        Learnt from training instances.

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
    >>> fisher_vectors(bags, Mixture(np.ones(1), np.array([[4.0]]), np.array([[3.5]]))).shape
    (2, 3)
    """
    shares, means, spreads = mixture
    posterior = mixture.posterior(bags.instances)
    scaled = (bags.instances[:, None] - means) / spreads
    count = bags.sizes[:, None]
    by_weight = bags.sums(posterior - shares) / (count * np.sqrt(shares))
    weighted = posterior[:, :, None] / np.sqrt(shares)[:, None]
    by_mean = bags.sums(weighted * scaled) / count[:, :, None]
    by_spread = bags.sums(weighted * (scaled**2 - 1)) / (count[:, :, None] * np.sqrt(2))
    parts = [part.reshape(len(count), -1) for part in (by_weight, by_mean, by_spread)]
    return _power_normalized(np.concatenate(parts, axis=1))


def _power_normalized(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    roots = np.sign(vectors) * np.sqrt(np.abs(vectors))
    known = np.isfinite(roots).all(axis=1, keepdims=True)  # of what is not, the decision is no number either
    return np.where(known, normalize(np.where(known, roots, 0.0)), np.nan)


@dataclass(frozen=True, eq=False)
class Codebook(View):
    """Codewords, and the vectors that they make of bags (`vlad_vectors`).

    Attributes
    ----------
    centres
        The codewords, shape (K, D).
    """

    centres: Annotated[NDArray[np.float64], "K D"]

    def of(self, bags: Packed) -> NDArray[np.float64]:
        """Give vectors, shape (B, K D)."""
        return vlad_vectors(bags, self.centres)

    def check(self, width: int) -> int:
        """See that codewords are as wide as instances."""
        if not self.centres.size or self.centres.shape[1] != width:
            raise ValueError("its codewords are none")
        return int(self.centres.size)


@dataclass(frozen=True, eq=False)
class Reduced(View):
    """Principal components, a mixture in them, and the vectors that these make of bags (`fisher_vectors`).

    Attributes
    ----------
    mean
        Of the instances, shape (D,).
    components
        Shape (R, D).
    mixture
        Of R features.
    """

    mean: Annotated[NDArray[np.float64], "D"]
    components: Annotated[NDArray[np.float64], "R D"]
    mixture: Mixture

    def of(self, bags: Packed) -> NDArray[np.float64]:
        """Give vectors, shape (B, modes x (1 + 2 R))."""
        return fisher_vectors(Packed((bags.instances - self.mean) @ self.components.T, bags.offsets), self.mixture)

    def check(self, width: int) -> int:
        """See that components, mixture and instances are equally wide, and what must be positive is."""
        modes, reduced = self.mixture.means.shape
        if not modes or (reduced, width) != self.components.shape:
            raise ValueError("its components are none")
        if not (self.mixture.spreads > 0).all() or not (self.mixture.shares > 0).all():
            raise ValueError("its mixture is none")
        return int(modes * (1 + 2 * reduced))


class _Vectors(Views):
    """What makes a vector of a bag, for each point of a grid, and the vectors of training bags."""

    def __init__(self, training: Packed, views: Sequence[View]) -> None:
        self.views = views
        self.training = self.of(training)

    def of(self, bags: Packed) -> list[NDArray[np.float64]]:
        """Give the vectors of bags, shape (B, V)."""
        found = {view: view.of(bags) for view in dict.fromkeys(self.views)}
        return [found[view] for view in self.views]

    def learner(self, machines: Sequence[Machine]) -> WholeBags:
        """Keep what makes the vectors."""
        return WholeBags(self.views[0], tuple(machines))


class _OnVectors(WholeBagMIL):
    """What miVLAD and miFV share."""

    @abstractmethod
    def _view(self, bags: Packed, parameters: Mapping[str, Any], seed: int) -> View:
        """Learn from instances alone how a bag becomes a vector."""

    def _machine(self, seen: NDArray[np.float64], C: float, *, of_numbers: bool) -> BaseEstimator:  # noqa: ARG002
        return Ridge(alpha=1 / C) if of_numbers else SVC(kernel="linear", C=C)

    def _views(self, bags: Packed, points: Sequence[Mapping[str, Any]], seed: int) -> Views:
        # What is learnt of instances alone does not depend on the price of a bag.
        found: dict[tuple[Any, ...], View] = {}
        apart = [tuple(value for name, value in point.items() if name != "C") for point in points]
        for point, others in zip(points, apart, strict=True):
            if others not in found:
                found[others] = self._view(bags, point, seed)
        return _Vectors(bags, [found[others] for others in apart])


@dataclass(kw_only=True, eq=False, repr=False)
class VLADSVM(_OnVectors):
    r"""miVLAD: describe a bag by its differences from the codewords of a vocabulary (Wei et al., 2017).

    $$v_m = \sum_{k :\, m = m(x_k)} (x_k - c_m), \qquad m(x) = \arg\min_m \lVert x - c_m \rVert$$

    The codewords $c_m$ are those of k-means. Each number of $(v_1, \ldots, v_M)$ becomes
    $\mathrm{sign}(v) \sqrt{\lvert v \rvert}$, the whole is brought to length 1, and a linear support vector machine
    learns from it.

    Parameters
    ----------
    codewords
        How many centres k-means finds among the training instances (at most as many as there are); None chooses.
    C
        The price of a training bag on the wrong side of the margin; of numbers, which ridge regression learns, what
        their squared errors count for beside the squared weights. None chooses.
    target, positive, threshold, standardize, random_state
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

    def _view(self, bags: Packed, parameters: Mapping[str, Any], seed: int) -> View:
        words = min(parameters["codewords"], len(np.unique(bags.instances, axis=0)))
        return Codebook(KMeans(words, n_init=1, random_state=seed).fit(bags.instances).cluster_centers_)


@dataclass(kw_only=True, eq=False, repr=False)
class FisherVectorSVM(_OnVectors):
    r"""miFV: describe a bag by the change in a mixture of Gaussians that would fit it better (Wei et al., 2017).

    $$u_m = \frac{1}{K \sqrt{\omega_m}} \sum_{k=1}^{K} (\gamma_{km} - \omega_m), \qquad
    v_m = \frac{1}{K \sqrt{\omega_m}} \sum_{k=1}^{K} \gamma_{km} z_{km}, \qquad
    w_m = \frac{1}{K \sqrt{2 \omega_m}} \sum_{k=1}^{K} \gamma_{km} (z_{km}^2 - 1)$$

    Here $z_{km} = (x_k - \mu_m) / \sigma_m$, feature by feature, of an instance in principal components, and
    $\gamma_{km}$ is the probability that it is of Gaussian $m$, whose share of all is $\omega_m$. Each number $v$ of
    all these becomes $\mathrm{sign}(v) \sqrt{\lvert v \rvert}$, the whole is brought to length 1, and a linear support
    vector machine learns from it.

    Parameters
    ----------
    modes
        Number of Gaussians, with diagonal covariances, that are fitted to the training instances (at most as many as
        there are); None chooses.
    energy
        The share of the variance that is kept by principal components, above 0 and at most 1; None chooses.
    C
        As in `VLADSVM`; None takes 1.
    target, positive, threshold, standardize, random_state
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

    def _view(self, bags: Packed, parameters: Mapping[str, Any], seed: int) -> View:
        components = _components(bags.instances, parameters["energy"])
        reduced = components.transform(bags.instances)
        modes = min(parameters["modes"], len(np.unique(bags.instances, axis=0)))
        learnt = GaussianMixture(modes, covariance_type="diag", random_state=seed).fit(reduced)
        mixture = Mixture(learnt.weights_, learnt.means_, np.sqrt(learnt.covariances_))
        return Reduced(components.mean_, components.components_, mixture)


def _components(instances: NDArray[np.float64], energy: float) -> PCA:
    """Keep the fewest principal components that hold a share of the variance, and none that holds nothing."""
    with np.errstate(invalid="ignore"):  # shares of no variance at all
        full = PCA(svd_solver="full").fit(instances)
    shares = np.nan_to_num(full.explained_variance_ratio_, nan=0.0)
    real = max(1, int((shares > np.finfo(np.float64).eps * len(shares)).sum()))
    wanted = int(np.searchsorted(np.cumsum(shares), energy * shares.sum() * (1 - 1e-12))) + 1
    with np.errstate(invalid="ignore"):
        return PCA(min(wanted, real), svd_solver="full").fit(instances)
