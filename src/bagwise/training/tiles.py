"""Products of a few rows with a weight matrix, and its update, held in the processor's registers.

A step of few instances is limited by how often numbers are loaded and stored, not by arithmetic. Here a tile of a
result, some rows by some vectors, stays in registers while a whole sum runs over it, and a gradient never leaves them:
what it changes is changed at once. Loops in Python cannot say so, however they are compiled; so tiles are written in
LLVM's instructions, and the loops over tiles in `bagwise.training.kernels`.

The order of each sum is written down, whatever the tile and the processor: so are the bits, wherever one instruction
multiplies and adds.

Each of these handles one tile that begins where it is told, as large as what is left allows, and returns its columns.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["add_product", "add_product_transposed", "descend_adam", "descend_sgd"]

_WHOLE, _SHORT = ir.IntType(64), ir.IntType(32)
# A processor with the wider registers has twice as many of them.
_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
_REGISTER = 64 if _WIDE else 32  # bytes
_SUM = 128  # bytes of what is summed side by side, before it is summed up: on this a sum's bits depend

PRODUCT_ROWS, DESCENT_ROWS, TRANSPOSED_ROWS = 6, 4, 2 if _WIDE else 1

Values = list[Any]
_instructions: Any = intrinsic  # numba has no types


def _function(builder: Any, result: Any, count: int, name: str) -> Any:
    """Give the function of this name and of so many arguments, all of one type."""
    find: Any = cgutils.get_or_insert_function
    return find(builder.module, ir.FunctionType(result, [result] * count), name)


class _Code:
    """Instructions for vectors of so many numbers of an array's type; what builds them is `builder`."""

    def __init__(self, builder: Any, kind: Any, lanes: int) -> None:
        self.builder = builder
        self.number = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
        self.bytes, self.lanes = kind.dtype.bitwidth // 8, lanes
        self.vector = ir.VectorType(self.number, lanes)
        self._multiply_add = _function(builder, self.vector, 3, f"llvm.fmuladd.v{lanes}f{8 * self.bytes}")

    def zero(self) -> Any:
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def load(self, place: Any) -> Any:
        loaded = self.builder.load(self.builder.bitcast(place, self.vector.as_pointer()))
        loaded.align = self.bytes
        return loaded

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, self.builder.bitcast(place, self.vector.as_pointer())).align = self.bytes

    def everywhere(self, number: Any) -> Any:
        unknown = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(unknown, number, ir.Constant(_SHORT, 0))
        return self.builder.shuffle_vector(
            one, unknown, ir.Constant(ir.VectorType(_SHORT, self.lanes), [0] * self.lanes)
        )

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Give x y + z, rounded once."""
        return self.builder.call(self._multiply_add, [x, y, z])

    def part(self, vector: Any, begin: int, count: int) -> Any:
        places = ir.Constant(ir.VectorType(_SHORT, count), list(range(begin, begin + count)))
        return self.builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)

    def sum_of(self, vector: Any) -> Any:
        """Sum up: its four quarters in pairs, and what that leaves half by half."""
        quarter = self.lanes // 4
        first, second, third, fourth = (self.part(vector, n * quarter, quarter) for n in range(4))
        left = self.builder.fadd(self.builder.fadd(first, second), self.builder.fadd(third, fourth))
        while quarter > 1:
            quarter //= 2
            left = self.builder.fadd(self.part(left, quarter, quarter), self.part(left, 0, quarter))
        return self.builder.extract_element(left, ir.Constant(_SHORT, 0))


class _Matrix:
    """Where the numbers of an array of shape (rows, columns) lie."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        held = context.make_array(kind)(context, builder, value)
        self._builder, self._data = builder, held.data
        self.rows, self.columns = (builder.extract_value(held.shape, axis) for axis in (0, 1))

    def at(self, row: Any, column: Any) -> Any:
        builder = self._builder
        return builder.gep(self._data, [builder.add(builder.mul(row, self.columns), column)])


def _whole(number: int) -> Any:
    return ir.Constant(_WHOLE, number)


def _summed(builder: Any, begin: Any, end: Any, starts: Values, add: Callable[[Any, Values], Values]) -> Values:
    """Let `add` make new sums of those so far, for each number from `begin` to before `end`."""
    before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
    builder.position_at_end(body)
    place, sums = builder.phi(_WHOLE), [builder.phi(start.type) for start in starts]
    added = add(place, sums)
    following, last = builder.add(place, _whole(1)), builder.block
    for phi, first, next_ in zip([place, *sums], [begin, *starts], [following, *added], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_, last)
    builder.cbranch(builder.icmp_signed("<", following, end), body, after)
    builder.position_at_end(after)
    results = [builder.phi(start.type) for start in starts]
    for phi, first, next_ in zip(results, starts, added, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_, last)
    return results


def _largest(
    builder: Any, left: Any, widths: Sequence[int], rows: Any, most: int, tile: Callable[[int, int], None]
) -> Any:
    """Have the tile of the largest width (of those that fall to 1) no larger than what is left, and of so many rows."""
    builder.function.attributes.add("noinline")  # a copy wherever it is called would take long to compile
    after = builder.append_basic_block()
    done = []
    for width in widths:
        this, narrower = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">=", left, _whole(width)), this, narrower)
        builder.position_at_end(this)
        never = builder.append_basic_block()
        choice = builder.switch(rows, never)
        for count in range(1, most + 1):
            block = builder.append_basic_block()
            choice.add_case(_whole(count), block)
            builder.position_at_end(block)
            tile(count, width)
            done.append((_whole(width), builder.block))
            builder.branch(after)
        builder.position_at_end(never)
        builder.unreachable()
        builder.position_at_end(narrower)
    builder.unreachable()
    builder.position_at_end(after)
    columns = builder.phi(_WHOLE)
    for width_, block in done:
        columns.add_incoming(width_, block)
    return columns


def _widths(kind: Any) -> list[int]:
    """Columns of a tile: two registers of numbers, one, and what leaves fewer columns."""
    widths = [2 * _REGISTER // (kind.dtype.bitwidth // 8)]
    while widths[-1] > 1:
        widths.append(widths[-1] // 2)
    return widths


def _vectors(kind: Any, width: int) -> tuple[int, int]:
    """Cut the width of a tile into vectors: how many, of how many numbers."""
    register = _REGISTER // (kind.dtype.bitwidth // 8)
    return (2, register) if width > register else (1, width)


@_instructions
def add_product(_context: Any, x: Any, W: Any, y: Any, row: Any, rows: Any, column: Any) -> Any:
    """Add x W to a tile of y: so many rows of it, and columns from one on. Each sum begins with y and runs in order."""

    def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
        X, weights, Y = (_Matrix(context, builder, *pair) for pair in zip(signature.args[:3], given[:3], strict=True))
        first, rows, column = given[3:]

        def tile(count: int, width: int) -> None:
            vectors, lanes = _vectors(signature.args[2], width)
            code = _Code(builder, signature.args[2], lanes)
            row_numbers = [builder.add(first, _whole(n)) for n in range(count)]
            columns = [builder.add(column, _whole(n * lanes)) for n in range(vectors)]
            places = [Y.at(*place) for place in product(row_numbers, columns)]

            def add(d: Any, sums: Values) -> Values:
                w = [code.load(weights.at(d, m)) for m in columns]
                scalars = [code.everywhere(builder.load(X.at(k, d))) for k in row_numbers]
                pairs = product(scalars, w)
                return [code.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

            sums = _summed(builder, _whole(0), X.columns, [code.load(place) for place in places], add)
            for total, place in zip(sums, places, strict=True):
                code.store(total, place)

        left = builder.sub(Y.columns, column)
        return _largest(builder, left, _widths(signature.args[2]), rows, PRODUCT_ROWS, tile)

    return types.intp(x, W, y, row, rows, column), generate


@_instructions
def add_product_transposed(_context: Any, dy: Any, W: Any, dx: Any, row: Any, rows: Any, column: Any) -> Any:
    """Add dy W^T to a tile of dx: so many rows of it, and columns from one on."""

    def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
        DY, weights, DX = (_Matrix(context, builder, *pair) for pair in zip(signature.args[:3], given[:3], strict=True))
        first, rows, column = given[3:]
        kind = signature.args[2]

        def tile(count: int, width: int) -> None:
            code = _Code(builder, kind, _SUM // (kind.dtype.bitwidth // 8))
            row_numbers = [builder.add(first, _whole(n)) for n in range(count)]
            columns = [builder.add(column, _whole(n)) for n in range(width)]
            places = [DX.at(*place) for place in product(row_numbers, columns)]

            def adding(code: _Code) -> Callable[[Any, Values], Values]:
                def add(step: Any, sums: Values) -> Values:
                    m = builder.mul(step, _whole(code.lanes))
                    w = [code.load(weights.at(d, m)) for d in columns]
                    slopes = [code.load(DY.at(k, m)) for k in row_numbers]
                    pairs = product(slopes, w)
                    return [code.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

                return add

            begin = ir.Constant(_SHORT, 0)
            starts = [builder.insert_element(code.zero(), builder.load(place), begin) for place in places]
            whole = builder.sdiv(DY.columns, _whole(code.lanes))
            sums = _summed(builder, _whole(0), whole, starts, adding(code))
            one = _Code(builder, kind, 1)
            unknown = ir.Constant(one.vector, ir.Undefined)
            summed = [builder.insert_element(unknown, code.sum_of(total), begin) for total in sums]
            summed = _summed(builder, builder.mul(whole, _whole(code.lanes)), DY.columns, summed, adding(one))
            for total, place in zip(summed, places, strict=True):
                one.store(total, place)

        left = builder.sub(DX.columns, column)
        return _largest(builder, left, [4, 2, 1] if _WIDE else [2, 1], rows, TRANSPOSED_ROWS, tile)

    return types.intp(dy, W, dx, row, rows, column), generate


# What a rule makes of values and the optimiser's state, given their gradient and the fields of a pace by name.
_Rule = Callable[[_Code, dict[str, Any], Any, Any, Values], tuple[Any, Values]]


def _descent(slots: int, rule: _Rule, explanation: str) -> Any:
    def descend(
        _context: Any, x: Any, dy: Any, pace: Any, W: Any, first: Any, second: Any, row: Any, rows: Any, column: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
            kinds, values = [signature.args[n] for n in (0, 1, 3, 4, 5)], [given[n] for n in (0, 1, 3, 4, 5)]
            X, DY, weights, *states = (_Matrix(context, builder, *pair) for pair in zip(kinds, values, strict=True))
            named = {name: builder.extract_value(given[2], n) for n, name in enumerate(signature.args[2].fields)}
            top, rows, column = given[6:]

            def tile(count: int, width: int) -> None:
                vectors, lanes = _vectors(kinds[2], width)
                code = _Code(builder, kinds[2], lanes)
                row_numbers = [builder.add(top, _whole(n)) for n in range(count)]
                columns = [builder.add(column, _whole(n * lanes)) for n in range(vectors)]

                def loaded(k: Any) -> tuple[Values, Values]:
                    scalars = [code.everywhere(builder.load(X.at(k, d))) for d in row_numbers]
                    return scalars, [code.load(DY.at(k, m)) for m in columns]

                def add(k: Any, sums: Values) -> Values:
                    pairs = product(*loaded(k))
                    return [code.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

                # The second instance, then the first, then the others; of one instance nothing but itself.
                several = builder.icmp_signed(">", X.rows, _whole(1))
                second_one = builder.select(several, _whole(1), _whole(0))
                starts = [
                    builder.select(several, builder.fmul(scalar, slope), code.zero())
                    for scalar, slope in product(*loaded(second_one))
                ]
                sums = _summed(builder, _whole(2), X.rows, add(_whole(0), starts), add)
                pace = {name: value if name == "adam" else code.everywhere(value) for name, value in named.items()}
                for gradient, (d, m) in zip(sums, product(row_numbers, columns), strict=True):
                    places = [matrix.at(d, m) for matrix in (weights, *states[:slots])]
                    value, *state = (code.load(place) for place in places)
                    value, state = rule(code, pace, gradient, value, state)
                    for number, place in zip([value, *state], places, strict=True):
                        code.store(number, place)

            left = builder.sub(weights.columns, column)
            return _largest(builder, left, _widths(kinds[2]), rows, DESCENT_ROWS, tile)

        return types.intp(x, dy, pace, W, first, second, row, rows, column), generate

    descend.__doc__ = explanation
    return _instructions(descend)


def _sgd(code: _Code, pace: dict[str, Any], gradient: Any, value: Any, state: Values) -> tuple[Any, Values]:
    (first,) = state
    slope = code.multiply_add(pace["l2"], value, gradient)
    first = code.multiply_add(pace["momentum"], first, slope)
    step = code.multiply_add(pace["momentum"], first, slope)
    return code.multiply_add(code.builder.fneg(pace["rate"]), step, value), [first]


def _adam(code: _Code, pace: dict[str, Any], gradient: Any, value: Any, state: Values) -> tuple[Any, Values]:
    builder, (first, second) = code.builder, state
    slope = code.multiply_add(pace["l2"], value, gradient)
    first = code.multiply_add(pace["momentum_rest"], builder.fsub(slope, first), first)
    second = code.multiply_add(pace["second_rest"], code.multiply_add(slope, slope, builder.fneg(second)), second)
    value = code.multiply_add(builder.fneg(pace["shrink"]), value, value)
    name = f"llvm.sqrt.v{code.lanes}f{8 * code.bytes}"
    root = _function(builder, code.vector, 1, name)
    spread = code.multiply_add(builder.call(root, [second]), pace["root"], pace["epsilon"])
    return builder.fsub(value, builder.fdiv(builder.fmul(pace["rate"], first), spread)), [first, second]


descend_sgd = _descent(1, _sgd, "Update a tile of W, of which x^T dy is the gradient, by SGD with Nesterov momentum.")
descend_adam = _descent(2, _adam, "Update a tile of W, of which x^T dy is the gradient, by Adam or AdamW.")
