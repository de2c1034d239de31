"""The lecture's worked examples, as numbers. Every value is a small integer, so equality is exact."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import (
    avg_pool2d,
    conv2d,
    convolve1d,
    convolve2d,
    cross_entropy,
    global_avg_pool,
    linear,
    max_pool2d,
)


def image(rows):
    return np.array(rows, np.float64)[None, None]


def test_first_example_is_a_cross_correlation():
    """Dumoulin and Visin's 5 x 5 figure, with the kernel whose corners the lecture prints as subscripts."""
    x = image([[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]])
    w = image([[0, 1, 2], [2, 2, 0], [0, 1, 2]])
    assert conv2d(x, w)[0, 0].tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


def test_second_example_has_other_values_than_the_lecture_prints():
    """It prints [[1,1,1],[0,1,2],[0,2,1]], which is neither correlation nor convolution; these are the true values."""
    x = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]], float)
    w = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]], float)
    printed = [[1, 1, 1], [0, 1, 2], [0, 2, 1]]
    correlated = conv2d(x[None, None], w[None, None])[0, 0].tolist()
    convolved = convolve2d(x, w, "valid").tolist()
    assert correlated == [[4, 4, 4], [3, 5, 4], [4, 5, 3]] != printed
    assert convolved == [[4, 4, 4], [2, 4, 5], [1, 4, 6]] != printed


def test_convolution_flips_its_kernel_and_commutes():
    f, g = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 10.0])
    assert convolve1d(f, g).tolist() == [0, 1, 12, 23, 30] == convolve1d(g, f).tolist()
    assert convolve1d(f, g, "same").tolist() == [1, 12, 23]


@pytest.mark.parametrize("n", [5, 8])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("p", [0, 1, 2])
def test_output_size(n, k, s, d, p):
    """n_out = (n + 2p - (d(k-1) + 1))/s + 1, rounded down."""
    expected = (n + 2 * p - (d * (k - 1) + 1)) // s + 1
    shape = conv2d.output_shape((1, 1, n, n), (1, 1, k, k), stride=s, padding=p, dilation=d)
    assert shape == (1, 1, expected, expected)
    x, w = np.zeros((1, 1, n, n)), np.zeros((1, 1, k, k))
    assert conv2d(x, w, stride=s, padding=p, dilation=d).shape == shape


def test_padding_keeps_the_size():
    assert conv2d.output_shape((1, 1, 5, 5), (1, 1, 3, 3)) == (1, 1, 3, 3)
    assert conv2d.output_shape((1, 1, 5, 5), (1, 1, 3, 3), padding=1) == (1, 1, 5, 5)
    assert conv2d.output_shape((1, 1, 5, 5), (1, 1, 3, 3), padding="same") == (1, 1, 5, 5)


def test_max_pooling_sends_the_gradient_to_the_maximum():
    """d a / d x_ij is 1 at the maximum, 0 elsewhere."""
    x = image([[1, 3, 2, 4], [5, 6, 8, 7], [1, 2, 4, 3], [0, 9, 1, 1]])
    y, pullback = max_pool2d.vjp(x, 2)
    assert y[0, 0].tolist() == [[6, 8], [9, 4]]
    (gx,) = pullback(image([[10, 20], [30, 40]]))
    assert gx[0, 0].tolist() == [[0, 0, 0, 0], [0, 10, 20, 0], [0, 0, 40, 0], [0, 30, 0, 0]]


def test_average_pooling_shares_the_gradient():
    """d a / d x_ij = 1/(r c) over an r x c window."""
    x = image([[1, 3, 2, 4], [5, 7, 8, 6]])
    y, pullback = avg_pool2d.vjp(x, 2)
    assert y[0, 0].tolist() == [[4, 5]]
    (gx,) = pullback(image([[4, 8]]))
    assert gx[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_global_average_pooling_leaves_one_value_a_map():
    y, pullback = global_avg_pool.vjp(np.arange(16.0).reshape(1, 2, 2, 4))
    assert y.ravel().tolist() == [3.5, 11.5]
    (gx,) = pullback(np.array([8.0, 16.0]).reshape(y.shape))
    assert gx.ravel().tolist() == [1.0] * 8 + [2.0] * 8


def test_backprop_of_the_two_layer_linear_network():
    """yhat = (x Wh) Wo with error E = (yhat - y)^2 / 2: the lecture's backprop, dWo = Eo h and dWh = Eh x."""
    x, target = np.array([[1.0, -2.0, 3.0]]), np.array([[4.0]])
    wh, wo = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 2.0]]), np.array([[3.0, -1.0]])  # (out, in)
    h, hidden = linear.vjp(x, wh)
    yhat, output = linear.vjp(h, wo)
    eo = yhat - target
    g_h, g_wo, _ = output(eo)
    _, g_wh, _ = hidden(g_h)
    eh = eo * wo
    assert g_wo.tolist() == (eo * h).tolist()
    assert g_wh.tolist() == (eh.T * x).tolist()


def test_a_step_of_gradient_descent_lowers_the_loss():
    """w <- w - eta dL/dw on a classifier, one step."""
    rng = np.random.default_rng(0)
    x, t, w = rng.standard_normal((20, 4)), rng.integers(0, 3, 20), np.zeros((3, 4))

    def loss(w):
        logits, back = linear.vjp(x, w)
        value, down = cross_entropy.vjp(logits, t)
        _, g, _ = back(down(1.0)[0])
        return float(value), g

    before, g = loss(w)
    after, _ = loss(w - 0.1 * g)
    assert before == pytest.approx(np.log(3), rel=1e-15)  # uniform: rounding of one log
    assert after < before
