"""Operators with one signature, of which an option chooses: `conv2d(..., padding_mode="reflect")` is `conv2d_reflect`.

Equations say what is read outside an array, or which of equal entries a maximum picks; so each value of such an option
has equations, kernels and proofs of its own, and a name by which it can be called directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kernels.adapter import Adapter, Plan, Variants, same_option
from kernels.arguments import entries
from kernels.operator import Operator, Pullback, Result

if TYPE_CHECKING:
    from kernels.runtime.definition import Definition


class Family(Operator):
    """The operator of the option's other values, which hands calls with one of these on."""

    def __init__(
        self,
        definition: Definition,
        adapter: Adapter,
        variants: Variants,
        load: Callable[[str], Operator],
        *,
        module: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(definition, adapter, module=module, name=name)
        self.variants = variants
        self._load = load
        self._place, self._default = self._parameters.index(variants.option), self._defaults[variants.option]

    def variant(self, args: Sequence[Any], options: Mapping[str, Any]) -> Operator | None:
        """Which operator a call is for, if it is another one. A value that is none is left for this one to refuse."""
        choose, names = self.variants.choose, self.variants.names
        if choose is not None:
            value = choose({**dict(zip(self._parameters, args, strict=False)), **options})
        else:
            place = self._place
            value = args[place] if place < len(args) else options.get(self.variants.option, self._default)
        if type(value) is str:  # of each call of a convolution, so without a search
            name = names.get(value)
        else:
            name = next((n for v, n in names.items() if same_option(value, v)), None)
        return None if name is None else self._load(name)

    def __call__(self, /, *args: Any, out: Any = None, **options: Any) -> Result:
        other = self.variant(args, options)
        return (
            super().__call__(*args, out=out, **options) if other is None else other(*args, out=out, **options)
        )

    def vjp(
        self, /, *args: Any, wrt: str | Sequence[str] | None = None, out: Any = None, **options: Any
    ) -> tuple[Result, Pullback]:
        """As `Operator.vjp`."""
        other = self.variant(args, options)
        vjp = super().vjp if other is None else other.vjp
        return vjp(*args, wrt=wrt, out=out, **options)

    def jvp(
        self, primals: Sequence[Any], tangents: Sequence[Any], /, **options: Any
    ) -> tuple[Result, Result]:
        """As `Operator.jvp`."""
        arrays = entries(primals)
        other = None if arrays is None else self.variant(*self._as_call(arrays, options))
        return (super().jvp if other is None else other.jvp)(primals, tangents, **options)

    def planned(self, /, *args: Any, **options: Any) -> Plan:
        """As `Operator.planned`."""
        other = self.variant(args, options)
        return (super().planned if other is None else other.planned)(*args, **options)

    def output_shape(self, /, *args: Any, **options: Any) -> Any:
        """As `Operator.output_shape`."""
        other = self.variant(args, options)
        return (super().output_shape if other is None else other.output_shape)(*args, **options)
