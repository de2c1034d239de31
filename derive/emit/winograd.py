"""Windows of 3 x 3 taps as source: tables of offsets from the equation; the arithmetic is shared.

The emitted module gets, for one equation, NAME_winograd_TENSOR for the operand that windows slide over, and how much
room it takes. What it calls is explained in `kernels/runtime/winograd.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.choice import Offer, Way
from derive.emit.contraction import MOST, _sum, _times
from derive.emit.kernel import _Writer
from derive.language import Index, extent
from derive.lower.loops import Nest
from derive.lower.winograd import Windows
from derive.program import Access


def winograd_offer(nest: Nest, windows: Windows, name: str) -> Offer:
    """Sums over windows by minimal filtering as one way."""
    return _WinogradWriter(nest, windows).offer(name)


class _WinogradWriter(_Writer):
    def __init__(self, nest: Nest, windows: Windows) -> None:
        super().__init__(nest, clears=True)
        self.windows = windows
        self.table_of: dict[tuple[str, str], str] = {}

    def offer(self, name: str) -> Offer:
        views, integers, reals = self.named()
        integers = self.told(integers, self.wanted())
        self.arguments = ", ".join(self.names[s] for s in integers)
        self.used |= {"Scratch", "IntegerScratch", "ceil_div", "divide", "repeat_last", "share", "spare"}
        self.used |= {"winograd", "winograd_lines", "winograd_rows", "winograd_suits", "winograd_work"}
        title = f"{name}_winograd_{self.names[self.windows.read]}"
        parts = (*self.rooms(title, integers), self.task(title, views, integers, reals))
        way = Way(title, self.condition(title), parts, self.windows.describe())
        return Offer((way,), integers, self.names, frozenset(self.used))

    def wanted(self) -> list[sp.Symbol]:
        """Symbols of extents, coefficients and tables that the plain loops may not need."""
        w = self.windows
        found = {w.equation.relation.size(i) for i in w.equation.relation.indices} | set(w.units)
        found |= {s for axis in w.axes for s in axis.constant.free_symbols}
        return sorted(found, key=str)

    def extent(self, i: Index) -> str:
        return self.names[extent(i)]

    def product(self, group: Sequence[Index]) -> str:
        return " * ".join(map(self.extent, group)) or "1"

    def amounts(self) -> tuple[str, str, str, str, str]:
        """Images, height and width of the results, columns, channels."""
        w = self.windows
        images, columns, channels = map(self.product, (w.images, w.columns, w.channels))
        return images, self.extent(w.axes[0].row), self.extent(w.axes[1].row), columns, channels

    def arrays(self) -> tuple[str, str, str]:
        return self.names[self.windows.read], self.names[self.windows.weights], self.names[self.target]

    @property
    def target(self) -> Access:
        return self.windows.equation.target

    def condition(self, name: str) -> str:
        tests = [f"{self.extent(axis.tap)} == 3" for axis in self.windows.axes]
        tests += [f"{self.names[u]} == 1" for u in self.windows.units]
        (a, _, out), second = self.arrays(), self.windows.axes[1]
        read = self.axis_of(second.place, self.windows.read), self.axis_of(second.row, self.target)
        side_by_side = f"{a}.stride({read[0]}) == {out}.stride({read[1]}) == 1"
        tests.append(f"winograd_suits(tile, {', '.join(self.amounts())}, {side_by_side})")
        tests.append(f"{name}_scratch(tile, {self.arguments}) <= {MOST}")
        return " and ".join(tests)

    def rooms(self, name: str, integers: Sequence[sp.Symbol]) -> list[str]:
        images, high, wide, columns, channels = self.amounts()
        scratch = [f"    return winograd_work(tile, {images}, {high}, {wide}, {columns}, {channels})"]
        tables = _sum([_twice(images), _twice(columns), f"10 * {channels}", "2 * spare(tile)"])
        lines = [f"    return {tables} + winograd_lines(tile, {columns}, {channels})"]
        return [
            self.room_of(f"{name}_scratch", integers, "Scalars of one task: taps, places and sums.", scratch),
            self.room_of(
                f"{name}_table", integers, "Integers of one task: the offsets of what it reads.", lines
            ),
        ]

    def task(
        self, name: str, views: Sequence[Access], integers: Sequence[sp.Symbol], reals: Sequence[sp.Symbol]
    ) -> str:
        self.lines, self.depth = [], 1
        signature = self.signature_of(
            views, integers, reals, "tile: Tile", "scratch: Scratch", "integer_scratch: IntegerScratch"
        )
        images, high, wide, columns, channels = self.amounts()
        (a, b, out), (first, second) = self.arrays(), self.windows.axes
        for word, text in (("images", images), ("columns", columns), ("channels", channels)):
            self.put(f"{word} = {text}")
        self.tables_of(a, b, out)
        self.put(f"rows = winograd_rows(tile, images, {high}, {wide})")
        self.put(f"all_rows = images * ceil_div({high}, 2)")
        others = self.product(self.windows.batch)
        self.put(f"_, rows, groups = divide(tile, tasks, {others}, 1, all_rows, (1, rows), columns)")
        self.put("parts = ceil_div(all_rows, rows)")
        self.put(
            f"first, last = share({' * '.join([others] * (others != '1') + ['groups', 'parts'])}, task, tasks)"
        )
        self.put("unit = first")
        self.put("while unit < last:", True)
        self.put("# as many parts as there are of one group of columns: they share what is made of its taps")
        self.put("part = unit % parts")
        self.put("more = min(last - unit, parts - part)")
        self.put("group = unit // parts % groups")
        for k, i in enumerate(self.windows.batch):
            below = self.product(self.windows.batch[k + 1 :])
            over = "unit // (parts * groups)" if below == "1" else f"unit // (parts * groups * {below})"
            self.put(f"{self.names[i]} = {over}" + (f" % {self.extent(i)}" if k else ""))
        self.put("column_from = group * ceil_div(columns, tile.channels) // groups * tile.channels")
        self.put(
            "column_to = min(columns, (group + 1) * ceil_div(columns, tile.channels) // groups * tile.channels)"
        )
        pointers = [self.pointer(array, access) for array, access in self.accesses()]
        strides = [f"{a}.stride({self.axis_of(axis.place, self.windows.read)})" for axis in (first, second)]
        sides = [f"{out}.stride({self.axis_of(axis.row, self.target)})" for axis in (first, second)]
        sizes = [self.extent(axis.place) for axis in (first, second)]
        lows = [self.integer(axis.constant - 2 if axis.falls else axis.constant) for axis in (first, second)]
        table = self.table_of
        self.put(
            f"winograd(tile, {pointers[0]}, {table[a, 'images']}, {table[a, 'channels']}, {', '.join(strides)}, "
            f"{', '.join(sizes)}, {', '.join(lows)}, {pointers[1]}, {table[b, 'columns']} + column_from, {table[b, 'steps']}, "
            f"{pointers[2]}, {table[out, 'images']}, {table[out, 'columns']} + column_from, {', '.join(sides)}, "
            f"{high}, {wide}, images, column_to - column_from, channels, part * rows, min(all_rows, (part + more) * rows), rows, "
            f"{'add != 0' if self.adds else 'False'}, scratch, lines)"
        )
        self.put("unit += more")
        rooms = f"(scratch={name}_scratch, integer_scratch={name}_table)"
        return self.as_task(name, signature, self.windows.describe(), rooms)

    def accesses(self) -> list[tuple[str, Access]]:
        return list(zip(self.arrays(), (self.windows.read, self.windows.weights, self.target), strict=True))

    @staticmethod
    def axis_of(i: Index, access: Access) -> int:
        return access.indices.index(i)

    def pointer(self, array: str, access: Access) -> str:
        """To where all indices are 0 but those of the batch; taps that fall begin with the last."""
        falling = {axis.tap for axis in self.windows.axes if axis.falls}
        at = [
            self.names[i] if i in self.windows.batch else "2" if i in falling else "0" for i in access.indices
        ]
        return f"{array}.pointer({', '.join(at)})"

    def tables_of(self, a: str, b: str, out: str) -> None:
        """Where images, channels, columns and taps lie."""
        w, taps = self.windows, [axis.tap for axis in self.windows.axes]
        at = "integer_scratch"
        spans = {
            (a, "images"): "images", (out, "images"): "images", (a, "channels"): "channels",
            (b, "columns"): "(columns + spare(tile))", (out, "columns"): "(columns + spare(tile))",
            (b, "steps"): "9 * channels",
        }  # fmt: skip
        for (array, word), size in spans.items():
            table = self.table_of[array, word] = self.name(sp.Dummy(), f"{array}_{word}")
            self.put(f"{table} = {at}")
            at = f"{table} + {size}"
        self.put(f"lines = {at}")
        self.filled("images", w.images, (a, out))
        self.filled("columns", w.columns, (b, out))
        self.filled("channels", w.channels, (a,))
        self.filled("steps", (*w.channels, *taps), (b,))

    def filled(self, word: str, group: Sequence[Index], arrays: Sequence[str]) -> None:
        """One loop nest over a group of indices fills the offsets of the arrays that it moves in."""
        accesses = dict(self.accesses())
        falling = {axis.tap for axis in self.windows.axes if axis.falls}
        depth = self.depth
        self.put("at = 0")
        for i in group:
            count = "3" if word == "steps" and i not in self.windows.channels else self.extent(i)
            self.put(f"for {self.names[i]} in range({count}):", True)
        for array in arrays:
            terms = [
                ("-" * (i in falling))
                + _times(self.names[i], f"{array}.stride({self.axis_of(i, accesses[array])})")
                for i in group
            ]
            self.put(f"{self.table_of[array, word]}[at] = {_sum(terms)}")
        self.put("at += 1")
        self.depth = depth
        if word == "columns":
            for array in arrays:
                self.put(f"repeat_last(tile, {self.table_of[array, word]}, columns)")


def _twice(text: str) -> str:
    return "2" if text == "1" else f"2 * {text}"


__all__ = ["winograd_offer"]
