"""The learning step of a fully connected model, written out in loops and compiled: forward, backward, update.

A bag of a few instances is so little arithmetic that calling a library for every operation takes longer than the
operations. So a member's whole step is one function here, and `learn` takes it bag after bag: its weights stay in the
processor's cache, and no gradient of a weight matrix is ever written down, unless its norm is limited: that is known
when all of it is. Bits depend on nothing but the member.

Shapes: K instances, D features or units below, M units, L hidden units of the attention, C logits. A weight matrix is
held as (D, M), so that the innermost loops run along memory; what has few outputs (a head, the attention's w) is held
as (C, M). `dx` is the gradient of the loss at x. The tests hold all of it against torch's own differentiation.

What sums over features or units, most of the work, goes tile after tile (`bagwise.training.tiles`).

Numba compiles at first use, which takes half a minute, and keeps the result beside this file. It looks at the files
that `compiled_once` is told of to see whether what it kept is still true, so everything compiled is in these.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise import instructions
from bagwise.compiled import compiled, compiled_once, pasted, summing
from bagwise.training import tiles

__all__ = ["AFFINE", "LEVELS", "POOLING", "POOLINGS", "Rule", "Wiring", "learn"]

Array = NDArray[np.floating[Any]]

EMBEDDING, INSTANCE, DEEP_SUPERVISION, RESIDUAL = LEVELS = range(4)
(
    MAX,
    MEAN,
    LOG_SUM_EXP,
    ATTENTION,
    GATED_ATTENTION,
    PROBABILITY_MEAN,
    PROBABILITY_LOG_SUM_EXP,
    ISR,
    NOISY_OR,
    NOISY_AND,
    SUM,
    SUM_ATTENTION,
    GATED_SUM_ATTENTION,
) = POOLINGS = range(13)

# Where parameters begin; how many columns go in and come out, and where the latter begin among those of all layers.
AFFINE = np.dtype([(name, np.int64) for name in ("W", "b", "inputs", "units", "column")])
POOLING = np.dtype([(name, np.int64) for name in ("V", "U", "w", "b", "hidden", "threshold")])


class Wiring(NamedTuple):
    """Where a model's parameters lie in its flat array, and how its parts compose.

    Attributes
    ----------
    level, pooling : int
        Of `LEVELS` and `POOLINGS`.
    constant : float
        The sharpness of log-sum-exp, the slope of noisy-and.
    few, spared : int
        Where all begins that is not a matrix: first heads and the attention's w, then what the L2 penalty spares.
    layers, heads : array of `AFFINE`
        The encoder's layers, and the heads.
    poolings : array of `POOLING`
        The poolings.
    """

    level: int
    pooling: int
    constant: float
    few: int
    spared: int
    layers: NDArray[np.void]
    poolings: NDArray[np.void]
    heads: NDArray[np.void]


class Rule(NamedTuple):
    """How a member steps down its gradients: SGD with Nesterov momentum, Adam, or AdamW.

    Attributes
    ----------
    adam : bool
    learning_rate, decay : float
        The rate of step t is learning_rate / (1 + decay t).
    momentum, second : float
        Of SGD and 0; or the two betas of Adam.
    epsilon : float
        Of Adam.
    l2 : float
        What the weights, but not the biases, are multiplied with and added to their gradient.
    shrink : float
        Of AdamW: what share of themselves the weights, but not the biases, lose at a rate of 1.
    longest : float
        The largest norm that a gradient of the loss may have; a longer one is made as short.
    """

    adam: bool
    learning_rate: float
    decay: float
    momentum: float
    second: float
    epsilon: float
    l2: float
    shrink: float
    longest: float


class _Pace(NamedTuple):
    """A rule at one step, in the precision of the weights."""

    adam: Any
    rate: Any
    momentum: Any
    momentum_rest: Any
    second_rest: Any
    epsilon: Any
    root: Any
    l2: Any
    shrink: Any


@compiled_once(tiles, instructions)
def learn(
    wiring: Wiring,
    rule: Rule,
    steps: int,
    factors: NDArray[np.float64],
    instances: Array,
    offsets: NDArray[np.int64],
    wanted: Array,
    gradient: Any,
    weights: Array,
    scales: Array,
    share: Any,
    beside: Array,
    values: Array,
    slots: Array,
    logits: Array,
    whole: Array,
) -> None:
    """Let a member learn from packed bags, one bag a step.

    Parameters
    ----------
    wiring, rule
        The model and how it learns.
    steps
        How many steps it has taken before.
    factors
        What the rate of each bag's step is multiplied with, shape (B,).
    instances
        As its scaler gives them, shape (N, D).
    offsets
        Shape (B + 1,).
    wanted
        What the loss compares outputs with, shape (B, W).
    gradient
        Of the loss at the outputs of a head: compiled, takes outputs (C,) and what is wanted (W,), writes into (C,).
    weights
        What the loss of each bag is multiplied with, shape (B,).
    scales
        What each unit of the embedding is multiplied with: 0 where it is dropped, else 1 / (1 - rate). Shape (N, width
        of the embedding), or (0, 0) if nothing is dropped.
    share
        What sums are multiplied with, a number of the type of the values.
    beside
        What the heads are told beside a bag's vector, shape (B, G).
    values
        Parameters, shape (P,), changed in place.
    slots
        The optimiser's state, shape (1 or 2, P), changed in place: momentum, or mean and square.
    logits
        Written: each bag's before its step, shape (B, H, C).
    whole
        Room for the gradient at all parameters, shape (P,), 0 where there is none; or (0,): no gradient is too long.
    """
    layers, last, first = wiring.layers, len(wiring.layers) - 1, _first_level(wiring)
    few = whole[wiring.few :] if len(whole) else np.empty(len(values) - wiring.few, values.dtype)
    for bag in range(len(wanted)):
        begin, end = offsets[bag], offsets[bag + 1]
        x, K, pace = instances[begin:end], end - begin, _pace(rule, steps + bag, factors[bag], True, values)
        kept = scales[begin:end] if len(scales) else scales
        # Of all levels, one after the other: h, what dropout leaves of it, and the gradient there.
        size = K * (layers[last].column + layers[last].units)
        h, u, du = np.empty(size, values.dtype), np.empty(size, values.dtype), np.zeros(size, values.dtype)
        few[:] = 0  # the gradient at all that is not a matrix

        # The encoder f.
        for number in range(last + 1):
            layer = layers[number]
            y = _level(h, layer, K)
            for k in range(K):
                for m in range(layer.units):
                    y[k, m] = values[layer.b + m]
            _add_product(_level(h, layers[number - 1], K) if number else x, _weights(values, layer), y)
            _zero_unless_positive(y, y)
            if number >= first:
                _scale(y, kept, layer.column - layers[first].column, _level(u, layer, K))

        # The pooling sigma and the head g, and back to the levels.
        if wiring.level == INSTANCE:
            level, dlevel = _level(u, layers[last], K), _level(du, layers[last], K)
            _score_and_pool(wiring, level, wanted[bag], gradient, weights[bag], values, few, logits[bag], dlevel)
        else:
            _pool_and_score(
                wiring,
                pace,
                K,
                u,
                wanted[bag],
                gradient,
                weights[bag],
                share,
                beside[bag],
                values,
                slots,
                few,
                logits[bag],
                du,
                whole,
            )
        for number in range(first, last + 1):
            dy = _level(du, layers[number], K)
            _scale(dy, kept, layers[number].column - layers[first].column, dy)

        # Back through the encoder.
        for number in range(last, -1, -1):
            layer = layers[number]
            dy = _level(du, layer, K)
            _zero_unless_positive(_level(h, layer, K), dy)
            if number:
                _add_product_transposed(dy, _weights(values, layer), _level(du, layers[number - 1], K))
            below = _level(h, layers[number - 1], K) if number else x
            _descend_or_keep(pace, below, dy, layer.W, values, slots, whole)
            for k in range(K):
                _add_multiple(dy.dtype.type(1), dy[k], few[layer.b - wiring.few :])
        if len(whole):
            _shorten(whole, rule.longest)
            # No literal, for which the update would be compiled a second time.
            _descend(pace, whole[: wiring.few], np.int64(0), values, slots)
        _descend(pace, few[: wiring.spared - wiring.few], wiring.few, values, slots)
        pace = _pace(rule, steps + bag, factors[bag], False, values)
        _descend(pace, few[wiring.spared - wiring.few :], wiring.spared, values, slots)


@pasted
def _pool_and_score(
    wiring: Wiring,
    pace: _Pace,
    K: int,
    u: Array,
    wanted: Array,
    gradient: Any,
    weight: Any,
    share: Any,
    beside: Array,
    values: Array,
    slots: Array,
    few: Array,
    logits: Array,
    du: Array,
    whole: Array,
) -> None:
    """Pool levels into bag vectors z, score them, and write the gradient at the levels."""
    poolings, heads, levels = wiring.poolings, wiring.heads, wiring.layers[_first_level(wiring) :]
    residual, gated = wiring.level == RESIDUAL, wiring.pooling in (GATED_ATTENTION, GATED_SUM_ATTENTION)
    counts = wiring.pooling in (SUM_ATTENTION, GATED_SUM_ATTENTION)
    attends = gated or counts or wiring.pooling == ATTENTION
    # Vectors of all levels one after the other; those of residual connections in one place, where they add up.
    z, dz = np.zeros(len(u) // K, values.dtype), np.zeros(len(u) // K, values.dtype)
    # What the backward pass needs: attention weights or derivatives of columns, and the attention's hidden units.
    a = np.empty(len(u), values.dtype)
    hidden = np.zeros((len(poolings), 2, K, poolings[0].hidden), values.dtype)

    for number in range(len(poolings)):
        own, level = poolings[number], levels[number]
        vector = _vector(z, levels[0] if residual else level)
        if attends:
            weights = a[K * level.column : K * (level.column + 1)]
            _attend(own, gated, counts, share, _level(u, level, K), values, hidden[number], weights, vector)
        else:
            _pool_columns(wiring.pooling, wiring.constant, share, _level(u, level, K), _level(a, level, K), vector)
    for number in range(len(heads)):
        head, vector, dvector = heads[number], _vector(z, levels[number]), _vector(dz, levels[number])
        _score(head, vector, values, logits[number])
        # Heads have a weight for each number that they are told beside, after those for the vector.
        for c in range(head.units):
            begin = head.W + c * head.inputs + len(vector)
            for g in range(len(beside)):
                logits[number, c] += values[begin + g] * beside[g]
        dlogits = _loss_gradient(gradient, logits[number], wanted, weight)
        for c in range(head.units):
            begin = head.W + c * head.inputs
            _add_multiple(dlogits[c], values[begin : begin + len(vector)], dvector)
            _add_multiple(dlogits[c], vector, few[begin - wiring.few :])
            _add_multiple(dlogits[c], beside, few[begin + len(vector) - wiring.few :])
            few[head.b - wiring.few + c] = dlogits[c]
    for number in range(len(poolings)):
        own, level = poolings[number], levels[number]
        dvector, dlevel = _vector(dz, levels[0] if residual else level), _level(du, level, K)
        if attends:
            h, dw, weights = (
                _level(u, level, K),
                few[own.w - wiring.few :],
                a[K * level.column : K * (level.column + 1)],
            )
            ds = _scores_backward(counts, share, h, weights, dvector, dlevel)
            if counts:
                few[own.b - wiring.few] = _sum(ds)
            _attend_backward(own, gated, pace, h, hidden[number], ds, values, slots, dw, dlevel, whole)
        else:
            derivatives = _level(a, level, K)
            for k in range(K):
                for m in range(level.units):
                    dlevel[k, m] = derivatives[k, m] * dvector[m]


@compiled
def _score_and_pool(
    wiring: Wiring,
    u: Array,
    wanted: Array,
    gradient: Any,
    weight: Any,
    values: Array,
    few: Array,
    logits: Array,
    du: Array,
) -> None:
    """Score instances, pool the scores, and write the gradient at the embeddings."""
    head, threshold = wiring.heads[0], wiring.poolings[0].threshold
    s, a = np.empty((head.units, len(u)), values.dtype), np.empty((head.units, len(u)), values.dtype)
    scores, slopes = np.empty(head.units, values.dtype), np.zeros(head.units, values.dtype)
    for k in range(len(u)):
        _score(head, u[k], values, scores)
        for c in range(head.units):
            s[c, k] = scores[c]
    for c in range(head.units):
        learnt = values[threshold + c] if wiring.pooling == NOISY_AND else values.dtype.type(0)
        logits[0, c], slopes[c] = _pool_scores(wiring.pooling, wiring.constant, s[c], learnt, a[c])
    dlogits = _loss_gradient(gradient, logits[0], wanted, weight)
    for c in range(head.units):
        begin = head.W + c * head.inputs
        for k in range(len(u)):
            ds = a[c, k] * dlogits[c]
            _add_multiple(ds, values[begin : begin + head.inputs], du[k])
            _add_multiple(ds, u[k], few[begin - wiring.few :])
            few[head.b - wiring.few + c] += ds
        if wiring.pooling == NOISY_AND:
            few[threshold - wiring.few + c] = slopes[c] * dlogits[c]


# ---- Where things lie. -----------------------------------------------------------------------------------------------


@compiled
def _first_level(wiring: Wiring) -> int:
    """Find the first layer that is pooled."""
    every = wiring.level == DEEP_SUPERVISION or wiring.level == RESIDUAL
    return 0 if every else len(wiring.layers) - 1


@compiled
def _level(flat: Array, layer: Any, K: int) -> Array:
    return flat[K * layer.column : K * (layer.column + layer.units)].reshape(K, layer.units)


@compiled
def _vector(flat: Array, layer: Any) -> Array:
    return flat[layer.column : layer.column + layer.units]


@compiled
def _weights(values: Array, layer: Any) -> Array:
    return values[layer.W : layer.W + layer.inputs * layer.units].reshape(layer.inputs, layer.units)


# ---- Elementwise. ----------------------------------------------------------------------------------------------------


@compiled
def _zero_unless_positive(sign: Array, x: Array) -> None:
    """Do so where `sign` is positive or no number, which must not be hidden."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for m in range(x.shape[1]):
            x[k, m] = zero if sign[k, m] <= 0 else x[k, m]


@compiled
def _scale(x: Array, scales: Array, column: int, y: Array) -> None:
    one = x.dtype.type(1)
    for k in range(x.shape[0]):
        for m in range(x.shape[1]):
            y[k, m] = x[k, m] * (scales[k, column + m] if len(scales) else one)


# ---- Products with a weight matrix, tile after tile: its numbers are read once for the rows of a tile. ---------------


@compiled_once(tiles, instructions)
def _add_product(x: Array, W: Array, y: Array) -> None:
    """Y += x W."""
    column = 0
    while column < y.shape[1]:
        columns = row = 0
        while row < len(y):
            rows = _even_share(len(y) - row, tiles.PRODUCT_ROWS)
            columns = tiles.add_product(x, W, y, row, rows, column)
            row += rows
        column += columns


@compiled_once(tiles, instructions)
def _add_product_transposed(dy: Array, W: Array, dx: Array) -> None:
    """Dx += dy W^T."""
    column = 0
    while column < dx.shape[1]:
        columns = row = 0
        while row < len(dx):
            rows = _even_share(len(dx) - row, tiles.TRANSPOSED_ROWS)
            columns = tiles.add_product_transposed(dy, W, dx, row, rows, column)
            row += rows
        column += columns


@compiled
def _even_share(count: int, most: int) -> int:
    """Take a share of so many, no larger than that, such that the shares are as few as possible and as even."""
    shares = -(-count // most)
    return -(-count // shares)


# ---- Sums. -----------------------------------------------------------------------------------------------------------


@compiled
def _add_multiple(factor: Any, x: Array, y: Array) -> None:
    for m in range(len(x)):
        y[m] += factor * x[m]


@summing
def _dot(x: Array, y: Array) -> Any:
    total = x.dtype.type(0)
    for m in range(len(x)):
        total += x[m] * y[m]
    return total


@summing
def _dot_of_three(x: Array, y: Array, z: Array) -> Any:
    total = x.dtype.type(0)
    for m in range(len(x)):
        total += x[m] * y[m] * z[m]
    return total


@summing
def _sum(x: Array) -> Any:
    total = x.dtype.type(0)
    for m in range(len(x)):
        total += x[m]
    return total


# ---- The update. -----------------------------------------------------------------------------------------------------


@compiled
def _pace(rule: Rule, step: int, factor: float, penalised: bool, values: Array) -> _Pace:
    kind = values.dtype.type
    rate = rule.learning_rate / (1 + rule.decay * step) * factor
    l2, shrink, root = rule.l2 if penalised else 0.0, rule.shrink * rate if penalised else 0.0, 1.0
    if rule.adam:
        rate /= 1 - rule.momentum ** (step + 1)
        root = 1 / math.sqrt(1 - rule.second ** (step + 1))
    return _Pace(
        rule.adam,
        kind(rate),
        kind(rule.momentum),
        kind(1 - rule.momentum),
        kind(1 - rule.second),
        kind(rule.epsilon),
        kind(root),
        kind(l2),
        kind(shrink),
    )


@compiled_once(tiles, instructions)
def _descend_matrix(pace: _Pace, x: Array, dy: Array, begin: int | np.int64, values: Array, slots: Array) -> None:
    """Update the matrix that begins there, of which x^T dy is the gradient."""
    shape = x.shape[1], dy.shape[1]
    end, last = begin + shape[0] * shape[1], len(slots) - 1
    W, first, second = (
        values[begin:end].reshape(shape),
        slots[0, begin:end].reshape(shape),
        slots[last, begin:end].reshape(shape),
    )
    row = 0
    while row < shape[0]:
        rows, column = _even_share(shape[0] - row, tiles.DESCENT_ROWS), 0
        while column < shape[1]:
            if pace.adam:
                column += tiles.descend_adam(x, dy, pace, W, first, second, row, rows, column)
            else:
                column += tiles.descend_sgd(x, dy, pace, W, first, second, row, rows, column)
        row += rows


@pasted
def _descend_or_keep(pace: _Pace, x: Array, dy: Array, begin: int, values: Array, slots: Array, whole: Array) -> None:
    """Update the matrix that begins there, of which x^T dy is the gradient, or write that down."""
    if not len(whole):
        _descend_matrix(pace, x, dy, begin, values, slots)
    else:
        for d in range(x.shape[1]):
            row = whole[begin + d * dy.shape[1] : begin + (d + 1) * dy.shape[1]]
            row[:] = 0
            for k in range(len(x)):
                _add_multiple(x[k, d], dy[k], row)


@compiled
def _shorten(gradient: Array, longest: float) -> None:
    """Do so as `torch.nn.utils.clip_grad_norm_` does; what is no number must not be hidden."""
    factor = longest / (math.sqrt(_dot(gradient, gradient)) + 1e-6)
    if not factor >= 1:
        share = gradient.dtype.type(factor)
        for m in range(len(gradient)):
            gradient[m] *= share


@pasted
def _descend(pace: _Pace, gradient: Array, begin: int | np.int64, values: Array, slots: Array) -> None:
    """Update the parameters that begin there."""
    _descend_matrix(pace, np.ones((1, 1), values.dtype), gradient.reshape(1, len(gradient)), begin, values, slots)


# ---- The head and the loss. ------------------------------------------------------------------------------------------


@compiled
def _score(head: Any, x: Array, values: Array, logits: Array) -> None:
    for c in range(head.units):
        begin = head.W + c * head.inputs
        logits[c] = values[head.b + c] + _dot(x, values[begin : begin + len(x)])


@compiled
def _loss_gradient(gradient: Any, logits: Array, wanted: Array, weight: Any) -> Array:
    """Give the gradient of the loss at a head's outputs, times the bag's weight."""
    slopes = np.empty(len(logits), logits.dtype)
    gradient(logits, wanted, slopes)
    for c in range(len(slopes)):
        slopes[c] *= weight
    return slopes


# ---- Poolings of embeddings. -----------------------------------------------------------------------------------------


@pasted
def _attend(
    own: Any, gated: bool, counts: bool, share: Any, h: Array, values: Array, hidden: Array, a: Array, z: Array
) -> None:
    """Z += sum_k a_k h_k, a the softmax of scores; or where it counts share sum_k a_k h_k, a_k = sigmoid(score + b).

    A score is w^T tanh(V h_k), gated: w^T (tanh(V h_k) * sigmoid(U h_k)).
    """
    one = values.dtype.type(1)
    for side in range(2 if gated else 1):
        _add_product(h, _attention_matrix(own, side, h.shape[1], values), hidden[side])
    scores, w = np.empty(len(h), values.dtype), values[own.w : own.w + own.hidden]
    for k in range(len(h)):
        for m in range(own.hidden):
            hidden[0, k, m] = math.tanh(hidden[0, k, m])
            hidden[1, k, m] = one / (one + math.exp(-hidden[1, k, m])) if gated else one
        scores[k] = _dot_of_three(w, hidden[0, k], hidden[1, k])
    if counts:
        for k in range(len(h)):
            a[k] = one / (one + math.exp(-scores[k] - values[own.b]))
    else:
        _softmax(scores, a)
    for k in range(len(h)):
        _add_multiple(a[k] * share if counts else a[k], h[k], z)


@compiled
def _scores_backward(counts: bool, share: Any, h: Array, a: Array, dz: Array, dh: Array) -> Array:
    """Give the gradient at the scores, and add to that at the embeddings what they pass on by themselves."""
    ds = np.empty(len(h), h.dtype)
    for k in range(len(h)):
        ds[k] = _dot(h[k], dz)
    mean = h.dtype.type(0) if counts else _dot(a, ds)
    for k in range(len(h)):
        _add_multiple(a[k] * share if counts else a[k], dz, dh[k])
        ds[k] = a[k] * (share * ds[k] * (h.dtype.type(1) - a[k]) if counts else ds[k] - mean)
    return ds


@pasted
def _attend_backward(
    own: Any,
    gated: bool,
    pace: _Pace,
    h: Array,
    hidden: Array,
    ds: Array,
    values: Array,
    slots: Array,
    dw: Array,
    dh: Array,
    whole: Array,
) -> None:
    one = values.dtype.type(1)
    for k in range(len(h)):
        # The hidden units become the gradients at V h and U h.
        for m in range(own.hidden):
            tanh, sigmoid, w = hidden[0, k, m], hidden[1, k, m], values[own.w + m]
            dw[m] += ds[k] * tanh * sigmoid
            hidden[0, k, m] = ds[k] * w * sigmoid * (one - tanh * tanh)
            hidden[1, k, m] = ds[k] * w * tanh * sigmoid * (one - sigmoid)
    for side in range(2 if gated else 1):
        _add_product_transposed(hidden[side], _attention_matrix(own, side, h.shape[1], values), dh)
        _descend_or_keep(pace, h, hidden[side], own.U if side else own.V, values, slots, whole)


@compiled
def _attention_matrix(own: Any, side: int, columns: int, values: Array) -> Array:
    """Give V or U."""
    begin = own.U if side else own.V
    return values[begin : begin + columns * own.hidden].reshape(columns, own.hidden)


@compiled
def _pool_columns(kind: int, sharpness: float, share: Any, h: Array, a: Array, z: Array) -> None:
    """Z += the pooled columns; a is the derivative of each by its instances."""
    count, (r, one) = len(h), (h.dtype.type(sharpness), h.dtype.type(1))
    for m in range(h.shape[1]):
        highest = h[0, m]
        for k in range(1, count):
            highest = max(highest, h[k, m])
        total = h.dtype.type(0)
        for k in range(count):
            if kind == MAX:
                a[k, m] = one if h[k, m] == highest else h.dtype.type(0)
            elif kind == MEAN:
                a[k, m] = one
            elif kind == SUM:
                a[k, m] = share
            else:
                a[k, m] = math.exp(r * (h[k, m] - highest))
            total += a[k, m]
        if kind == SUM:
            total = one
        pooled = h.dtype.type(0)
        for k in range(count):
            a[k, m] /= total
            pooled += a[k, m] * h[k, m]
        z[m] += highest + math.log(total / count) / r if kind == LOG_SUM_EXP else pooled


# ---- Poolings of instance logits s, as `bagwise.models.pooling` has them. --------------------------------------------


@compiled
def _pool_scores(kind: int, constant: float, s: Array, threshold: Any, a: Array) -> tuple[float, float]:
    """Give the bag's logit and its derivative by the threshold; a is its derivative by each instance's logit.

    With q the bag's probability and p the instances', these are dq/dp_k sigma'(s_k) / sigma'(logit q): products of
    factors that can each be too small to hold, so taken as sums of logarithms.
    """
    count, highest = len(s), s[0]
    for k in range(1, count):
        highest = max(highest, s[k])
    if kind == MAX:
        ties = 0
        for k in range(count):
            ties += s[k] == highest
        for k in range(count):
            a[k] = (s[k] == highest) / ties
        return float(highest), 0.0
    log_p, log_not_p, terms = np.empty(count), np.empty(count), np.empty(count)
    for k in range(count):
        log_p[k], log_not_p[k] = _log_sigmoid(float(s[k])), _log_sigmoid(-float(s[k]))
    if kind == ISR:
        _softmax(s, a)
        for k in range(count):
            terms[k] = s[k]
        return _log_sum_exp(terms), 0.0
    if kind == NOISY_OR:
        for k in range(count):
            terms[k] = _log_softplus(float(s[k]))
        bag = _log_expm1_exp(_log_sum_exp(terms))
        for k in range(count):
            a[k] = math.exp(log_p[k] - _log_sigmoid(bag))
        return bag, 0.0
    if kind == PROBABILITY_LOG_SUM_EXP:
        return _pool_sharply(constant, log_p, log_not_p, a), 0.0

    log_count = math.log(count)
    log_m, log_not_m = _log_sum_exp(log_p) - log_count, _log_sum_exp(log_not_p) - log_count
    if kind == PROBABILITY_MEAN:
        for k in range(count):
            a[k] = math.exp(log_p[k] + log_not_p[k] - log_count - log_m - log_not_m)
        return log_m - log_not_m, 0.0

    log_slope, m, not_m = math.log(constant), math.exp(log_m), math.exp(log_not_m)
    b, not_b = math.exp(_log_sigmoid(float(threshold))), math.exp(_log_sigmoid(-float(threshold)))
    low, high = _log_expm1_exp(log_m + log_slope), _log_expm1_exp(log_not_m + log_slope)
    for k in range(count):
        shared = log_slope + log_p[k] + log_not_p[k] - log_count
        a[k] = math.exp(shared + constant * m - low) + math.exp(shared + constant * not_m - high) - math.exp(shared)
    bag = low - high - constant * m - _log_sigmoid(-constant * not_b) + _log_sigmoid(constant * b)
    change = math.exp(_log_sigmoid(-constant * b)) - math.exp(_log_sigmoid(constant * not_b))
    return bag, constant * change * b * not_b


@compiled
def _pool_sharply(r: float, log_p: Array, log_not_p: Array, a: Array) -> float:
    """Take the convex maximum; see `bagwise.models.pooling.ProbabilityLogSumExp` for its formulas."""
    count, log_r, log_count = len(log_p), math.log(r), math.log(len(log_p))
    low, high, rest, rp = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for k in range(count):
        rp[k], rest[k] = r * math.exp(log_p[k]), -r * math.exp(log_not_p[k])
        low[k] = _log_expm1_exp(log_p[k] + log_r)
        high[k] = _log_expm1_exp(log_not_p[k] + log_r) + rest[k]
    log_rq, r_not_q = _log_softplus(_log_sum_exp(low) - log_count), log_count - _log_sum_exp(rest)
    small = _log_minus_log1m_exp(min(_log_sum_exp(high) - log_count, -0.5))
    log_r_not_q = small if r_not_q < math.log(2) else math.log(r_not_q)
    log_total = _log_sum_exp(rp)
    for k in range(count):
        a[k] = math.exp(rp[k] - log_total + log_p[k] + log_not_p[k] - log_rq - log_r_not_q + 2 * log_r)
    return log_rq - log_r_not_q


@compiled
def _softmax(x: Array, a: Array) -> None:
    highest = x[0]
    for k in range(1, len(x)):
        highest = max(highest, x[k])
    for k in range(len(x)):
        a[k] = math.exp(x[k] - highest)
    total = _sum(a)
    for k in range(len(x)):
        a[k] /= total


@summing
def _log_sum_exp(x: Array) -> Any:
    highest, total = x[0], 0.0
    for k in range(1, len(x)):
        highest = max(highest, x[k])
    for k in range(len(x)):
        total += math.exp(x[k] - highest)
    return highest + math.log(total)


@compiled
def _log_sigmoid(x: Any) -> Any:
    return min(x, x - x) - math.log1p(math.exp(-abs(x)))


# As in `bagwise.models.pooling`, with the same care where exp(x) is tiny.
_TINY = -15.0


@compiled
def _log_softplus(x: float) -> float:
    """Compute log(log(1 + exp(x)))."""
    return x - math.exp(x) / 2 if x < _TINY else math.log(-_log_sigmoid(-x))


@compiled
def _log_expm1_exp(x: float) -> float:
    """Compute log(exp(exp(x)) - 1)."""
    if x < _TINY:
        return x + math.exp(x) / 2
    return math.exp(x) + math.log(-math.expm1(-math.exp(x)))


@compiled
def _log_minus_log1m_exp(x: float) -> float:
    """Compute log(-log(1 - exp(x))) for x < 0."""
    return x + math.exp(x) / 2 if x < _TINY else math.log(-math.log1p(-math.exp(x)))
