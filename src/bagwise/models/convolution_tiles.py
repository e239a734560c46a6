"""Sums of many rows of numbers, each times a factor, that stay in the processor's registers until all are added."""

from typing import Any

from numba import types

from bagwise.instructions import REGISTER, Code, Values, index, sum_over, written_out

__all__ = ["AT_ONCE", "add_rows"]

AT_ONCE = 4
"""Rows that are added together, before the sum of them is added to what is there."""

_REGISTERS = 8


@written_out
def add_rows(
    _context: Any, sums: Any, at: Any, size: Any, rows: Any, begins: Any, skip: Any, factors: Any, count: Any
) -> Any:
    """Add rows times factors to so many sums from a place on.

    `sums`, `rows` (numbers), `begins` (where a row begins among them, but for what is skipped) and `factors` have one
    dimension; `count`, a multiple of `AT_ONCE`, says how many rows are added.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Values) -> Any:
        def data(n: int) -> Any:
            return context.make_array(signature.args[n])(context, builder, given[n]).data

        target, source, starts, by = (data(n) for n in (0, 3, 4, 6))
        at, size, skip, count = (given[n] for n in (1, 2, 5, 7))
        kind = signature.args[0]
        register = REGISTER // (kind.dtype.bitwidth // 8)
        steps = builder.sdiv(count, index(AT_ONCE))

        def tile(width: int, column: Any) -> None:
            code = Code(builder, kind, min(width, register))
            parts = [builder.add(column, index(n)) for n in range(0, width, code.lanes)]
            places = [builder.gep(target, [builder.add(at, part)]) for part in parts]
            parts = [builder.add(skip, part) for part in parts]

            def add(step: Any, before: Values) -> Values:
                numbers = [builder.add(builder.mul(step, index(AT_ONCE)), index(n)) for n in range(AT_ONCE)]
                scalars = [code.everywhere(builder.load(builder.gep(by, [n]))) for n in numbers]
                begin = [builder.load(builder.gep(starts, [n])) for n in numbers]
                added = []
                for part, total in zip(parts, before, strict=True):
                    a, b, c, d = (code.load(builder.gep(source, [builder.add(n, part)])) for n in begin)
                    left = code.multiply_add(scalars[0], a, builder.fmul(scalars[1], b))
                    right = code.multiply_add(scalars[2], c, builder.fmul(scalars[3], d))
                    added.append(builder.fadd(total, builder.fadd(left, right)))
                return added

            totals = sum_over(builder, index(0), steps, [code.load(place) for place in places], add)
            for total, place in zip(totals, places, strict=True):
                code.store(total, place)

        width = _REGISTERS * register
        tiles, column = builder.sdiv(size, index(width)), index(0)
        while width:

            def add_tile(number: Any, _: Values, width: int = width, column: Any = column) -> Values:
                tile(width, builder.add(column, builder.mul(number, index(width))))
                return []

            sum_over(builder, index(0), tiles, [], add_tile)
            column = builder.and_(size, index(-width))
            width //= 2
            tiles = builder.and_(builder.sdiv(size, index(width)), index(1)) if width else None
        return context.get_dummy_value()

    return types.void(sums, at, size, rows, begins, skip, factors, count), generate
