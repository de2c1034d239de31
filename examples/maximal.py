"""What input excites a feature map most? After Zeiler and Fergus (2014), on the digits of examples/mnist.py.

Of some maps of the second layer, in this order:
- the nine digits that excite them most, each cut to what that one element of the map sees, its receptive field, which
  `derive.geometry` finds from the equations of the layers;
- what of these pieces did it: the gradient of the element by the pixels;
- pieces that nobody wrote: pixels that start grey and climb along the gradient, with Adam and `maximize=True`, after so
  many batches of training. A blur now and then keeps them from noise that no pen draws (Yosinski and others, 2015).

The picture is out/maximal.png; the exit status says whether every climbed piece excites its map more than any digit.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

from derive.geometry import geometry
from examples.mnist import digits, gradients, network, shifted
from kernels import conv2d
from kernels.network import Network
from kernels.training import Adam, cosine

matplotlib.use("Agg")
from matplotlib import pyplot

Array = np.ndarray
PICTURE = Path(__file__).resolve().parents[1] / "out" / "maximal.png"
LAYER, MAPS, BEST = "relu2", 6, 9
BATCH, RATE, SHOWN = 32, 3e-3, (0, 20, 100, 400)  # batches of training before each look
STEPS, CLIMB, EVERY = 102, 0.3, 3  # the last two steps are not blurred
BLUR = (np.outer((1, 4, 1), (1, 4, 1)) / 36).astype(np.float32)[np.newaxis, np.newaxis]
BLACK, WHITE = (np.float32((level - 0.13) / 0.31) for level in (0, 1))  # as the pixels are normalised


def climbed(model: Network, size: int) -> Array:
    """For each map the piece of so many pixels that a climb from grey comes to, and how much it excites the map."""
    features = model.until(LAYER)
    count = len(model.parameters["conv2.weight"])
    pixels = np.full((count, 1, size, size), (BLACK + WHITE) / 2, np.float32)
    own = np.eye(count, dtype=np.float32).reshape(count, count, 1, 1)  # of piece k the map k
    adam = Adam(lr=CLIMB, maximize=True)
    for step in range(STEPS):
        # before relu2, where a map that is silent has a gradient, too
        _, pullback = features.vjp(pixels, wrt="input", at="conv2")
        adam.step({"input": pixels}, {"input": pullback(own)["input"]})
        if step % EVERY == 0:
            pixels[...] = conv2d(pixels, BLUR, padding=1, padding_mode="replicate")
        np.clip(pixels, BLACK, WHITE, out=pixels)
    return pixels


def strongest(values: Array) -> tuple[Array, Array]:
    """Of one map of every image: the images that excite it most, and where."""
    flat = values.reshape(len(values), -1)
    images = np.argsort(-flat.max(1))[:BEST]
    return images, np.stack(np.unravel_index(flat[images].argmax(1), values.shape[1:]), 1)


def pieces(model: Network, images: Array, values: Array, size: int, jump: int) -> tuple[Array, Array]:
    """For each map what its strongest elements see, and the gradients of these by the pixels: (maps, 9, size, size)."""
    features, seen, why = model.until(LAYER), [], []
    for k in range(values.shape[1]):
        best, places = strongest(values[:, k])
        y, pullback = features.vjp(images[best], wrt="input")
        g = np.zeros_like(y)
        g[np.arange(BEST), k, *places.T] = 1
        slopes = pullback(g)["input"]
        cut = [(slice(jump * i, jump * i + size), slice(jump * j, jump * j + size)) for i, j in places]
        seen.append([images[b, 0][c] for b, c in zip(best, cut, strict=True)])
        why.append([slope[0][c] for slope, c in zip(slopes, cut, strict=True)])
    return np.array(seen), np.array(why)


def mosaic(pictures: Array) -> Array:
    """Nine in a square, with a line between them."""
    size = pictures.shape[-1]
    square = np.full((3 * size + 2, 3 * size + 2), np.nan, pictures.dtype)
    for k, picture in enumerate(pictures):
        i, j = divmod(k, 3)
        square[i * (size + 1) : i * (size + 1) + size, j * (size + 1) : j * (size + 1) + size] = picture
    return square


def main() -> int:
    rng = np.random.default_rng(0)
    images, target = digits()
    model, adam, rate = network(rng), Adam(), cosine(RATE, SHOWN[-1])
    field, _ = (own := geometry(model, (1, 1, 28, 28))).fields(own.row(LAYER))
    assert field is not None
    size, jump = field.size, int(field.jump)

    looks: dict[int, Array] = {}
    for step in tqdm(range(SHOWN[-1] + 1), desc="training", unit="batch", mininterval=0.5):
        if step in SHOWN:
            looks[step] = climbed(model, size)
        if step < SHOWN[-1]:
            batch = rng.choice(len(images), BATCH, replace=False)
            _, g = gradients(model, shifted(images[batch], rng), target[batch])
            adam.step(model.parameters, g, lr=rate(step))

    values = model.features(images[:2000], at=LAYER)[LAYER]
    seen, why = pieces(model, images[:2000], values, size, jump)
    reached = model.until(LAYER)(looks[SHOWN[-1]])[:, :, 0, 0].diagonal()
    most = values.max((0, 2, 3))
    maps = np.argsort(-most)[:MAPS]

    figure, axes = pyplot.subplots(MAPS, 2 + len(SHOWN), figsize=(9.2, 9.6), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for row, k in zip(axes, maps, strict=True):
        row[0].imshow(mosaic(seen[k]), cmap="gray", vmin=BLACK, vmax=WHITE)
        row[1].imshow(mosaic(why[k]), cmap="RdBu_r", vmin=-np.abs(why[k]).max(), vmax=np.abs(why[k]).max())
        for axis, look in zip(row[2:], looks.values(), strict=True):
            axis.imshow(look[k, 0], cmap="gray", vmin=BLACK, vmax=WHITE)
        row[0].set_title(f"map {k}: up to {most[k]:.1f}", fontsize=8)
        row[1].set_title("by which pixels", fontsize=8)
        for axis, step in zip(row[2:], SHOWN, strict=True):
            axis.set_title(f"climbed, {step} batches", fontsize=8)
        row[-1].set_title(f"{SHOWN[-1]} batches: {reached[k]:.1f}", fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    print(
        f"{sum(reached > most)} of {len(most)} maps are excited more by what was climbed to than by any digit"
    )
    print(PICTURE)
    return 0 if all(reached[maps] > most[maps]) else 1


if __name__ == "__main__":
    sys.exit(main())
