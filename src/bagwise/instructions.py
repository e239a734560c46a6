"""LLVM's instructions for what loops in Python cannot say, however they are compiled: which numbers stay in registers.

What is built of them is one function for numba, which handles one tile of a result that begins where it is told, as
large as what is left allows, and returns its columns.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "IS_WIDE",
    "REGISTER",
    "SHORT",
    "Code",
    "Matrix",
    "Values",
    "function",
    "index",
    "largest_tile",
    "sum_over",
    "written_out",
]

_LONG, SHORT = ir.IntType(64), ir.IntType(32)
# A processor with the wider registers has twice as many of them.
IS_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
REGISTER = 64 if IS_WIDE else 32  # bytes

Values = list[Any]
written_out: Any = intrinsic  # of which numba tells no types


def function(builder: Any, result: Any, count: int, name: str) -> Any:
    """Give the function of this name and of so many arguments, all of one type."""
    find: Any = cgutils.get_or_insert_function
    return find(builder.module, ir.FunctionType(result, [result] * count), name)


class Code:
    """Instructions for vectors of so many numbers of an array's type; what builds them is `builder`."""

    def __init__(self, builder: Any, kind: Any, lanes: int) -> None:
        self.builder = builder
        self.number = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
        self.bytes, self.lanes = kind.dtype.bitwidth // 8, lanes
        self.vector = ir.VectorType(self.number, lanes)
        self._multiply_add = function(builder, self.vector, 3, f"llvm.fmuladd.v{lanes}f{8 * self.bytes}")

    def zero(self) -> Any:
        """Give a vector of 0."""
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def load(self, place: Any) -> Any:
        """Load the vector that begins at a place."""
        loaded = self.builder.load(self.builder.bitcast(place, self.vector.as_pointer()))
        loaded.align = self.bytes
        return loaded

    def store(self, value: Any, place: Any) -> None:
        """Store a vector where it begins."""
        self.builder.store(value, self.builder.bitcast(place, self.vector.as_pointer())).align = self.bytes

    def everywhere(self, number: Any) -> Any:
        """Give a vector of one number."""
        unknown = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(unknown, number, ir.Constant(SHORT, 0))
        return self.builder.shuffle_vector(
            one, unknown, ir.Constant(ir.VectorType(SHORT, self.lanes), [0] * self.lanes)
        )

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Give x y + z, rounded once."""
        return self.builder.call(self._multiply_add, [x, y, z])

    def part(self, vector: Any, begin: int, count: int) -> Any:
        """Give so many neighbours of a vector's numbers."""
        places = ir.Constant(ir.VectorType(SHORT, count), list(range(begin, begin + count)))
        return self.builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)

    def sum_of(self, vector: Any) -> Any:
        """Sum up: its four quarters in pairs, and what that leaves half by half."""
        quarter = self.lanes // 4
        first, second, third, fourth = (self.part(vector, n * quarter, quarter) for n in range(4))
        left = self.builder.fadd(self.builder.fadd(first, second), self.builder.fadd(third, fourth))
        while quarter > 1:
            quarter //= 2
            left = self.builder.fadd(self.part(left, quarter, quarter), self.part(left, 0, quarter))
        return self.builder.extract_element(left, ir.Constant(SHORT, 0))


class Matrix:
    """Where the numbers of an array of shape (rows, columns) lie."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        held = context.make_array(kind)(context, builder, value)
        self._builder, self._data = builder, held.data
        self.rows, self.columns = (builder.extract_value(held.shape, axis) for axis in (0, 1))

    def at(self, row: Any, column: Any) -> Any:
        """Give the place of a number."""
        builder = self._builder
        return builder.gep(self._data, [builder.add(builder.mul(row, self.columns), column)])


def index(number: int) -> Any:
    """Give a whole number, as places are counted in."""
    return ir.Constant(_LONG, number)


def sum_over(builder: Any, begin: Any, end: Any, starts: Values, add: Callable[[Any, Values], Values]) -> Values:
    """Let `add` make new sums of those so far, for each number from `begin` to before `end`."""
    before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
    builder.position_at_end(body)
    place, sums = builder.phi(_LONG), [builder.phi(start.type) for start in starts]
    added = add(place, sums)
    following, last = builder.add(place, index(1)), builder.block
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


def largest_tile(
    builder: Any, left: Any, widths: Sequence[int], rows: Any, most: int, tile: Callable[[int, int], None]
) -> Any:
    """Have the tile of the largest width (of those that fall to 1) no larger than what is left, and of so many rows."""
    builder.function.attributes.add("noinline")  # a copy wherever it is called would take long to compile
    after = builder.append_basic_block()
    done = []
    for width in widths:
        this, narrower = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">=", left, index(width)), this, narrower)
        builder.position_at_end(this)
        never = builder.append_basic_block()
        choice = builder.switch(rows, never)
        for count in range(1, most + 1):
            block = builder.append_basic_block()
            choice.add_case(index(count), block)
            builder.position_at_end(block)
            tile(count, width)
            done.append((index(width), builder.block))
            builder.branch(after)
        builder.position_at_end(never)
        builder.unreachable()
        builder.position_at_end(narrower)
    builder.unreachable()
    builder.position_at_end(after)
    columns = builder.phi(_LONG)
    for width_, block in done:
        columns.add_incoming(width_, block)
    return columns
