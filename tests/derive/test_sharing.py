"""Operators of a family share kernels: what an earlier one has, a later one imports."""

from __future__ import annotations

from derive.emit.module import module_source
from derive.language import Operator, Sum, Tensor, indices, parameters, tensors
from derive.pipeline import Library, derive
from kernels.generated import conv2d, conv2d_reflect, conv_transpose2d

n, o, c, p, k, q = indices("n o c p k q")
x, w, y, u, v, z = tensors("x w y u v z")
s = parameters("s")
a = parameters("a", positive=False)


def strided(name: str, letters, offset=0) -> Operator:
    data, weight, result = letters
    at = s * p + k - offset
    padded = Tensor(data.name, margin=[(offset, offset)]) if offset else data
    body = Sum[c, k](padded[n, c, at] * weight[o, c, k])
    return Operator(name, result[n, o, p] << body, inputs=(padded, weight))


def test_the_same_equation_in_other_letters():
    library = Library()
    first = derive(strided("first", (x, w, y)), library)
    assert not first.shared
    second = derive(strided("second", (u, v, z)), library)
    assert second.kernels.keys() == second.shared.keys()
    assert {(k.module, k.title) for k in second.shared.values()} <= {
        ("first", title) for title in first.kernels
    }
    text = module_source(second)
    assert "from kernels.generated.first import (\n" in text
    assert "\ndef z_from" not in text


def test_a_kernel_for_any_offset_serves_where_there_is_none():
    library = Library()
    derive(strided("padded", (x, w, y), a), library)
    plain = derive(strided("plain", (x, w, y)), library)
    assert plain.kernels.keys() == plain.shared.keys()
    offsets = [phase.integers.count(0) for phase in plain.phases["forward"]]
    assert offsets == [1]  # and the other way round a kernel without an offset serves no window that has one
    library = Library()
    derive(strided("plain", (x, w, y)), library)
    assert not derive(strided("padded", (x, w, y), a), library).shared


def test_without_a_library_a_module_has_all_that_it_needs():
    for operator in (strided("first", (x, w, y)), strided("second", (u, v, z))):
        made = derive(operator)
        assert not made.shared
        assert "kernels.generated" not in module_source(made)


def test_names_that_are_taken():
    """A kernel of another module that is called like one of this gets a name of its own."""
    library = Library()
    derive(Operator("first", y[n] << Sum[k](x[n, k] ** 3), inputs=(x,)), library)
    made = derive(
        Operator(
            "second",
            z[n] << Sum[k](x[n, k] ** 2),
            y[n] << Sum[k](x[n, k] ** 3) * z[n],
            inputs=(x,),
            outputs=(y,),
        ),
        library,
    )
    names = [*made.kernels]
    assert len(set(names)) == len(names)
    compile(module_source(made), "second.py", "exec")


def test_shipped_families():
    """A transposed convolution is made of a convolution's kernels alone, one with a border of those and its copies."""
    kernels = {p.kernel for p in conv_transpose2d.DEFINITION.programs["vjp"].every}
    assert kernels <= {p.kernel for p in conv2d.DEFINITION.programs["vjp"].every} | {
        p.kernel for p in conv2d.DEFINITION.programs["forward"].every
    }
    assert conv2d_reflect.y_from_w_x is conv2d.y_from_w_x
