"""JAX beside ours over the same random configurations as torch: results, vjp, jvp, and vjp of the vjp."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="configurations are drawn as its tensors", exc_type=ImportError)
jax = pytest.importorskip("jax", reason="a comparison with JAX", exc_type=ImportError)

from tests.external import against_jax, drawn  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.external]


@pytest.mark.parametrize("name", against_jax.REFERENCES, ids=lambda name: name.replace(" ", "_"))
def test_drawn(name, count):
    tallies = against_jax.run(name)
    for found in tallies:
        count(found)
    for found in tallies:
        found.check()
    assert any(found.passed for found in tallies)


def test_both_types_are_compared_and_jax_is_left_as_it_was():
    assert not jax.config.jax_enable_x64
    assert against_jax.run("relu", 8)[0].passed == 8
    assert {str(drawn.drawn("relu", seed)[0])[-7:] for seed in range(8)} == {"float32", "float64"}
    assert not jax.config.jax_enable_x64


def test_another_gradient_is_seen():
    """ReLU's value at every point, with a slope of 1/2 on both sides."""

    def wrong(a, o):
        x = a["input"]
        return x / 2 + jax.lax.stop_gradient(jax.nn.relu(x) - x / 2)

    call = next(
        c for c, _ in (drawn.drawn("relu", seed) for seed in range(9)) if c.arrays["input"].numel() > 4
    )
    with jax.enable_x64(True), pytest.raises(AssertionError, match="gradient of input"):
        against_jax.agree(call, wrong, 0)
