"""Products of a few rows with a weight matrix, and its update, held in the processor's registers.

A step of few instances is limited by how often numbers are loaded and stored, not by arithmetic. Here a tile of a
result, some rows by some vectors, stays in registers while a whole sum runs over it, and a gradient never leaves them:
what it changes is changed at once. Loops in Python cannot say so, however they are compiled; so tiles are written in
LLVM's instructions (`bagwise.instructions`), and the loops over tiles in `bagwise.training.kernels`.

The order of each sum is written down, whatever the tile and the processor: so are the bits, wherever one instruction
multiplies and adds.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

from llvmlite import ir
from numba import types

from bagwise.instructions import (
    IS_WIDE,
    REGISTER,
    SHORT,
    Code,
    Matrix,
    Values,
    function,
    index,
    largest_tile,
    sum_over,
    written_out,
)

__all__ = ["add_product", "add_product_transposed", "descend_adam", "descend_sgd"]

_SUM = 128  # bytes of what is summed side by side, before it is summed up: on this a sum's bits depend

PRODUCT_ROWS, DESCENT_ROWS, TRANSPOSED_ROWS = 6, 4, 2 if IS_WIDE else 1


def _widths(kind: Any) -> list[int]:
    """Columns of a tile: two registers of numbers, one, and what leaves fewer columns."""
    widths = [2 * REGISTER // (kind.dtype.bitwidth // 8)]
    while widths[-1] > 1:
        widths.append(widths[-1] // 2)
    return widths


def _vectors(kind: Any, width: int) -> tuple[int, int]:
    """Cut the width of a tile into vectors: how many, of how many numbers."""
    register = REGISTER // (kind.dtype.bitwidth // 8)
    return (2, register) if width > register else (1, width)


@written_out
def add_product(_context: Any, x: Any, W: Any, y: Any, row: Any, rows: Any, column: Any) -> Any:
    """Add x W to a tile of y: so many rows of it, and columns from one on. Each sum begins with y and runs in order."""

    def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
        X, weights, Y = (Matrix(context, builder, *pair) for pair in zip(signature.args[:3], given[:3], strict=True))
        first, rows, column = given[3:]

        def tile(count: int, width: int) -> None:
            vectors, lanes = _vectors(signature.args[2], width)
            code = Code(builder, signature.args[2], lanes)
            row_numbers = [builder.add(first, index(n)) for n in range(count)]
            columns = [builder.add(column, index(n * lanes)) for n in range(vectors)]
            places = [Y.at(*place) for place in product(row_numbers, columns)]

            def add(d: Any, sums: Values) -> Values:
                w = [code.load(weights.at(d, m)) for m in columns]
                scalars = [code.everywhere(builder.load(X.at(k, d))) for k in row_numbers]
                pairs = product(scalars, w)
                return [code.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

            sums = sum_over(builder, index(0), X.columns, [code.load(place) for place in places], add)
            for total, place in zip(sums, places, strict=True):
                code.store(total, place)

        left = builder.sub(Y.columns, column)
        return largest_tile(builder, left, _widths(signature.args[2]), rows, PRODUCT_ROWS, tile)

    return types.intp(x, W, y, row, rows, column), generate


@written_out
def add_product_transposed(_context: Any, dy: Any, W: Any, dx: Any, row: Any, rows: Any, column: Any) -> Any:
    """Add dy W^T to a tile of dx: so many rows of it, and columns from one on."""

    def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
        DY, weights, DX = (Matrix(context, builder, *pair) for pair in zip(signature.args[:3], given[:3], strict=True))
        first, rows, column = given[3:]
        kind = signature.args[2]

        def tile(count: int, width: int) -> None:
            code = Code(builder, kind, _SUM // (kind.dtype.bitwidth // 8))
            row_numbers = [builder.add(first, index(n)) for n in range(count)]
            columns = [builder.add(column, index(n)) for n in range(width)]
            places = [DX.at(*place) for place in product(row_numbers, columns)]

            def adding(code: Code) -> Callable[[Any, Values], Values]:
                def add(step: Any, sums: Values) -> Values:
                    m = builder.mul(step, index(code.lanes))
                    w = [code.load(weights.at(d, m)) for d in columns]
                    slopes = [code.load(DY.at(k, m)) for k in row_numbers]
                    pairs = product(slopes, w)
                    return [code.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

                return add

            begin = ir.Constant(SHORT, 0)
            starts = [builder.insert_element(code.zero(), builder.load(place), begin) for place in places]
            full = builder.sdiv(DY.columns, index(code.lanes))
            sums = sum_over(builder, index(0), full, starts, adding(code))
            one = Code(builder, kind, 1)
            unknown = ir.Constant(one.vector, ir.Undefined)
            ends = [builder.insert_element(unknown, code.sum_of(total), begin) for total in sums]
            ends = sum_over(builder, builder.mul(full, index(code.lanes)), DY.columns, ends, adding(one))
            for total, place in zip(ends, places, strict=True):
                one.store(total, place)

        left = builder.sub(DX.columns, column)
        return largest_tile(builder, left, [4, 2, 1] if IS_WIDE else [2, 1], rows, TRANSPOSED_ROWS, tile)

    return types.intp(dy, W, dx, row, rows, column), generate


# What a rule makes of values and the optimiser's state, given their gradient and the fields of a pace by name.
_Rule = Callable[[Code, dict[str, Any], Any, Any, Values], tuple[Any, Values]]


def _descent(slots: int, rule: _Rule, explanation: str) -> Any:
    def descend(
        _context: Any, x: Any, dy: Any, pace: Any, W: Any, first: Any, second: Any, row: Any, rows: Any, column: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
            kinds, values = [signature.args[n] for n in (0, 1, 3, 4, 5)], [given[n] for n in (0, 1, 3, 4, 5)]
            X, DY, weights, *states = (Matrix(context, builder, *pair) for pair in zip(kinds, values, strict=True))
            named = {name: builder.extract_value(given[2], n) for n, name in enumerate(signature.args[2].fields)}
            top, rows, column = given[6:]

            def tile(count: int, width: int) -> None:
                vectors, lanes = _vectors(kinds[2], width)
                code = Code(builder, kinds[2], lanes)
                row_numbers = [builder.add(top, index(n)) for n in range(count)]
                columns = [builder.add(column, index(n * lanes)) for n in range(vectors)]

                def loaded(k: Any) -> tuple[Values, Values]:
                    scalars = [code.everywhere(builder.load(X.at(k, d))) for d in row_numbers]
                    return scalars, [code.load(DY.at(k, m)) for m in columns]

                def add(k: Any, sums: Values) -> Values:
                    pairs = product(*loaded(k))
                    return [code.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

                # The second instance, then the first, then the others; of one instance nothing but itself.
                several = builder.icmp_signed(">", X.rows, index(1))
                second_one = builder.select(several, index(1), index(0))
                starts = [
                    builder.select(several, builder.fmul(scalar, slope), code.zero())
                    for scalar, slope in product(*loaded(second_one))
                ]
                sums = sum_over(builder, index(2), X.rows, add(index(0), starts), add)
                pace = {name: value if name == "adam" else code.everywhere(value) for name, value in named.items()}
                for gradient, (d, m) in zip(sums, product(row_numbers, columns), strict=True):
                    places = [matrix.at(d, m) for matrix in (weights, *states[:slots])]
                    value, *state = (code.load(place) for place in places)
                    value, state = rule(code, pace, gradient, value, state)
                    for number, place in zip([value, *state], places, strict=True):
                        code.store(number, place)

            left = builder.sub(weights.columns, column)
            return largest_tile(builder, left, _widths(kinds[2]), rows, DESCENT_ROWS, tile)

        return types.intp(x, dy, pace, W, first, second, row, rows, column), generate

    descend.__doc__ = explanation
    return written_out(descend)


def _sgd(code: Code, pace: dict[str, Any], gradient: Any, value: Any, state: Values) -> tuple[Any, Values]:
    (first,) = state
    slope = code.multiply_add(pace["l2"], value, gradient)
    first = code.multiply_add(pace["momentum"], first, slope)
    step = code.multiply_add(pace["momentum"], first, slope)
    return code.multiply_add(code.builder.fneg(pace["rate"]), step, value), [first]


def _adam(code: Code, pace: dict[str, Any], gradient: Any, value: Any, state: Values) -> tuple[Any, Values]:
    builder, (first, second) = code.builder, state
    slope = code.multiply_add(pace["l2"], value, gradient)
    first = code.multiply_add(pace["momentum_rest"], builder.fsub(slope, first), first)
    second = code.multiply_add(pace["second_rest"], code.multiply_add(slope, slope, builder.fneg(second)), second)
    value = code.multiply_add(builder.fneg(pace["shrink"]), value, value)
    name = f"llvm.sqrt.v{code.lanes}f{8 * code.bytes}"
    root = function(builder, code.vector, 1, name)
    spread = code.multiply_add(builder.call(root, [second]), pace["root"], pace["epsilon"])
    return builder.fsub(value, builder.fdiv(builder.fmul(pace["rate"], first), spread)), [first, second]


descend_sgd = _descent(1, _sgd, "Update a tile of W, of which x^T dy is the gradient, by SGD with Nesterov momentum.")
descend_adam = _descent(2, _adam, "Update a tile of W, of which x^T dy is the gradient, by Adam or AdamW.")
