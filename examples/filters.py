"""The lecture's filters on a photograph, all in one convolution; the picture is out/filters.png."""

from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from skimage.data import camera

from kernels import conv2d

matplotlib.use("Agg")
from matplotlib import pyplot

Image = NDArray[np.float32]

PICTURE = Path(__file__).resolve().parents[1] / "out" / "filters.png"

FILTERS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "box blur": [[1 / 9, 1 / 9, 1 / 9]] * 3,
    "Sobel, left to right": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "Sobel, bottom to top": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "edges, diagonal": [[1, 0, -1], [0, 0, 0], [-1, 0, 1]],
    "edges, 4 neighbours": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "edges, 8 neighbours": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
}


def shown(response: Image, kernel: Image) -> Image:
    """Grey levels from 0 to 1. Where the weights cancel, bright is a strong response of either sign."""
    if kernel.sum() > 0.5:
        return np.clip(response, 0, 1)
    strength = np.abs(response)
    return np.clip(strength / float(np.quantile(strength, 0.995)), 0, 1)


def matrix(kernel: Image) -> str:
    entries = [["1/9" if np.isclose(w, 1 / 9) else f"{w:.0f}" for w in row] for row in kernel]
    return "\n".join(" ".join(f"{entry:>3}" for entry in row) for row in entries)


def main() -> None:
    photograph = camera().astype(np.float32) / 255
    weight = np.array(list(FILTERS.values()), np.float32)[:, None]  # one output channel for each filter
    responses = conv2d(photograph[None, None], weight)[0]  # no padding: no frame of false edges

    figure, axes = pyplot.subplots(2, 4, figsize=(16, 9.6), layout="constrained")
    for ax, name, response, kernel in zip(axes.flat, FILTERS, responses, weight[:, 0], strict=True):
        ax.imshow(shown(response, kernel), cmap="gray", vmin=0, vmax=1)
        ax.set_title(name, fontsize=14)
        ax.set_xlabel(matrix(kernel), fontfamily="monospace", fontsize=11)
        ax.set_xticks([])
        ax.set_yticks([])
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=100)
    height, width = photograph.shape
    print(f"{len(FILTERS)} filters on a photograph of {height} x {width} pixels: {PICTURE}")


if __name__ == "__main__":
    main()
