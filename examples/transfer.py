"""Transfer learning: features learnt on the digits 0 to 4 read 5 to 9 from a few samples of each.

A network is trained on the first five digits of examples/mnist.py. Its convolutions are frozen, its head is replaced,
and that alone learns the other five from K images of each, K from 1 to 50; beside it the same network learns them from
scratch. The picture is out/transfer.png; the exit status says whether the frozen features were the better ones up to
ten samples of a digit.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

from examples.mnist import accuracy, digits, gradients, head, network, shifted
from kernels.network import Network
from kernels.training import Adam, cosine

matplotlib.use("Agg")
from matplotlib import pyplot

Array = np.ndarray
PICTURE = Path(__file__).resolve().parents[1] / "out" / "transfer.png"
FIRST, BATCH, RATE = 400, 32, 3e-3
SAMPLES, STEPS, REPEATS = (1, 2, 5, 10, 20, 50), 60, 3


def batches(count: int, steps: int, rng: np.random.Generator) -> Iterator[Array]:
    for _ in range(steps):
        yield rng.choice(count, min(BATCH, count), replace=False)


def train(model: Network, images: Array, target: Array, steps: int, rng: np.random.Generator) -> None:
    """Adam along a cosine, on images that are moved a little."""
    adam, rate = Adam(), cosine(RATE, steps)
    for step, batch in enumerate(batches(len(images), steps, rng)):
        _, g = gradients(model, shifted(images[batch], rng), target[batch])
        adam.step(model.parameters, g, lr=rate(step))


def main() -> int:
    rng = np.random.default_rng(0)
    images, target = digits()
    low = target < 5
    model = network(rng, 5)
    train(model, images[low], target[low], FIRST, rng)
    print(
        f"digits 0 to 4 after {FIRST} batches: {accuracy(model, images[low], target[low]):.1%} of those learnt from"
    )

    features = model.until("flat")
    features.freeze("conv*")
    images, target = images[~low], target[~low] - 5
    order = rng.permutation(len(images))
    held, rest = order[:1000], order[1000:]

    found: dict[str, dict[int, float]] = {"frozen features, a new head": {}, "from scratch": {}}
    with tqdm(total=len(SAMPLES) * REPEATS, desc="learning 5 to 9", unit="set", mininterval=0.5) as bar:
        for count in SAMPLES:
            scores: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(REPEATS):
                own = np.concatenate([rng.permutation(rest[target[rest] == d])[:count] for d in range(5)])
                models = features.extended({"head": head(rng, 5)}), network(rng, 5)
                for name, learner in zip(found, models, strict=True):
                    train(learner, images[own], target[own], STEPS, rng)
                    scores[name].append(accuracy(learner, images[held], target[held]))
                bar.update()
            for name, values in scores.items():
                found[name][count] = float(np.mean(values))

    figure, plot = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name, curve in found.items():
        plot.plot(list(curve), [100 * v for v in curve.values()], marker="o", label=name)
    plot.set(
        title="digits 5 to 9, 1,000 held out",
        xlabel="samples of each digit",
        ylabel="accuracy, %",
        xscale="log",
    )
    plot.set_xticks(SAMPLES, [str(s) for s in SAMPLES])
    plot.minorticks_off()
    plot.legend()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    frozen, scratch = found.values()
    for count in SAMPLES:
        print(
            f"{count:3} of each digit: {frozen[count]:.1%} on frozen features, {scratch[count]:.1%} from scratch"
        )
    print(PICTURE)
    return 0 if all(frozen[count] > scratch[count] for count in SAMPLES if count <= 10) else 1


if __name__ == "__main__":
    sys.exit(main())
