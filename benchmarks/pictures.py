"""Results as pictures: ratios by class, ratios by layer, the roofline, how time scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.layers import DIRECTIONS, DTYPES
from benchmarks.results import Results
from benchmarks.run import Row
from benchmarks.summary import EVERYONE, OURS, TORCH, best, geometric_mean, ratio, seconds

COLOURS = dict(zip(DIRECTIONS, ("#1b6ca8", "#8d6cab", "#d1495b", "#2e8b57"), strict=True))
GREY = "#777777"


def draw(results: Results, folder: Path) -> list[Path]:
    """Every picture that the results have something for."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for threads in dict.fromkeys(row.threads for row in results.rows):
        for dtype in DTYPES:
            rows = [
                row
                for row in results.rows
                if (row.threads, row.case.dtype) == (threads, dtype) and ratio(row, EVERYONE) is not None
            ]
            if rows:
                end = f"{dtype}-{threads}thr"
                made.append(save(classes(rows), folder / f"classes-{end}.png"))
                made.append(save(roofline(rows, results), folder / f"roofline-{end}.png"))
            for batch in dict.fromkeys(row.case.batch for row in rows):
                own = [row for row in rows if row.case.batch == batch]
                made.append(save(by_layer(own), folder / f"layers-{end}-n{batch}.png"))
    if any(name != "overhead" for name in results.more):
        made.append(save(scaling(results), folder / "scaling.png"))
    return made


def save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def setting(rows: Sequence[Row]) -> str:
    threads = rows[0].threads
    batches = " and ".join(map(str, dict.fromkeys(row.case.batch for row in rows)))
    return f"{rows[0].case.dtype}, {threads} thread{'s' if threads > 1 else ''}, batch {batches}"


def log_ratio(axes: Axes, values: Sequence[float]) -> None:
    """A log axis of ratios around 1, wide enough for all, with plain numbers."""
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, min(values) / 1.25), max(2.0, max(values) * 1.25))
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color="black", linewidth=1, zorder=1)
    axes.grid(axis="x", which="both", color="#e5e5e5", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def classes(rows: Sequence[Row]) -> Figure:
    """A dot for each layer, a bar at the geometric mean, a line for each class and direction."""
    groups = list(dict.fromkeys(row.case.group for row in rows))
    lines = [
        (group, direction, found)
        for group in groups
        for direction in DIRECTIONS
        if (found := values(rows, group, direction))
    ]
    figure, axes = pyplot.subplots(
        figsize=(9, 1.3 + 0.21 * len(lines) + 0.1 * len(groups)), layout="constrained"
    )
    at, ticks, before = 0.0, [], ""
    for group, direction, found in lines:
        if group != before:
            at += 0.5
            ticks.append((at + (sum(line[0] == group for line in lines) - 1) / 2, group))
            before = group
        colour = COLOURS[direction]
        axes.plot(found, [at] * len(found), "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        mean = geometric_mean(found)
        axes.plot([mean, mean], [at - 0.42, at + 0.42], color=colour, linewidth=3, solid_capstyle="butt")
        at += 1
    axes.set_ylim(at - 0.3, -0.4)
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.tick_params(axis="y", length=0)
    log_ratio(axes, [value for _, _, found in lines for value in found])
    axes.set_xlabel("times as fast as torch (the better of NCHW and channels-last); bar: geometric mean")
    axes.set_title(setting(rows), loc="left")
    shown = [d for d in DIRECTIONS if any(line[1] == d for line in lines)]
    handles = [Line2D([], [], color=COLOURS[d], linewidth=3, label=d) for d in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def values(rows: Sequence[Row], group: str, direction: str) -> list[float]:
    found = (ratio(row, TORCH) for row in rows if (row.case.group, row.case.direction) == (group, direction))
    return [value for value in found if value is not None]


def by_layer(rows: Sequence[Row]) -> Figure:
    """A bar for each layer, a panel for each direction: against the best of all peers, a tick for torch."""
    groups = list(dict.fromkeys(row.case.group for row in rows))
    layers = sorted(
        dict.fromkeys((row.case.group, row.case.layer.name) for row in rows), key=lambda x: groups.index(x[0])
    )
    places: dict[tuple[str, str], float] = {}
    at, before = 0.0, ""
    for group, name in layers:
        at += 1.6 if group != before else 1
        places[group, name], before = at, group
    shown = [d for d in DIRECTIONS if any(row.case.direction == d for row in rows)]
    figure, panels = pyplot.subplots(
        1,
        len(shown),
        sharey=True,
        squeeze=False,
        figsize=(5 + 2.6 * len(shown), 1.6 + 0.17 * at),
        layout="constrained",
    )
    for axes, direction in zip(panels[0], shown, strict=True):
        own = [row for row in rows if row.case.direction == direction]
        found = [ratio(row, EVERYONE) or 1.0 for row in own]
        heights = [places[row.case.group, row.case.layer.name] for row in own]
        lefts = [1.0] * len(own)
        axes.barh(
            heights, [v - 1 for v in found], left=lefts, height=0.75, color=COLOURS[direction], zorder=2
        )
        torch = [(ratio(row, TORCH), height) for row, height in zip(own, heights, strict=True)]
        ticks = [(value, height) for value, height in torch if value is not None]
        axes.plot([v for v, _ in ticks], [h for _, h in ticks], "|", color="black", markersize=7, zorder=3)
        log_ratio(axes, [*found, *(value for value, _ in ticks)])
        axes.set_title(direction, loc="left")
    panels[0][0].set_ylim(at + 1, 0.4)
    panels[0][0].set_yticks(list(places.values()), [name for _, name in places], fontsize=7)
    for group in groups:
        top = min(place for (g, _), place in places.items() if g == group)
        panels[0][-1].text(
            1.02, top, group, transform=panels[0][-1].get_yaxis_transform(), fontsize=8, va="center"
        )
    figure.suptitle(f"times as fast as the best peer (tick: as torch); {setting(rows)}", fontsize=11)
    return figure


def roofline(rows: Sequence[Row], results: Results) -> Figure:
    """Speed over intensity: ours, the best of the others, and what the machine can do."""
    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    work = [row for row in rows if row.case.flops]
    for direction in DIRECTIONS:
        own = [row for row in work if row.case.direction == direction]
        if not own:
            continue
        axes.plot(
            *points(own, [OURS] * len(own)), "o", color=COLOURS[direction], markersize=5, label=direction
        )
    names = [best(row) or "" for row in work]
    axes.plot(
        *points(work, names), "o", color=GREY, markersize=4, fillstyle="none", zorder=1, label="best peer"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    peaks = results.peaks.get(str(rows[0].threads), {"missing": ""})
    if "missing" not in peaks:
        low, high = axes.get_xlim()
        top = peaks["fma"][rows[0].case.dtype]["flops"]
        copies = peaks["copy"]
        for copied, style in ((copies[0], ":"), (copies[-1], "-")):
            speed = copied["bandwidth"]
            axes.plot([low, top / speed, high], [low * speed / 1e9, top / 1e9, top / 1e9], style, color="black",
                      linewidth=1, label=f"peak; copy of {copied['bytes'] / 1e6:.0f} MB")  # fmt: skip
        axes.set_xlim(low, high)
    axes.grid(which="both", color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("floating-point operations for each byte that has to move")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{setting(rows)}", loc="left")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def points(rows: Sequence[Row], peers: Sequence[str]) -> tuple[list[float], list[float]]:
    """Intensities and GFLOP/s, where there is a time."""
    found = [
        (row.case.flops / row.case.bytes, row.case.flops / taken / 1e9)
        for row, peer in zip(rows, peers, strict=True)
        if (taken := seconds(row, peer)) is not None
    ]
    return [x for x, _ in found], [y for _, y in found]


def scaling(results: Results) -> Figure:
    """GFLOP/s of one layer as its batch, channels or image grow: ours in full, the best of torch dashed."""
    names = [name for name in results.more if name != "overhead"]
    figure, panels = pyplot.subplots(
        1, len(names), squeeze=False, sharey=True, figsize=(4 * len(names), 4), layout="constrained"
    )
    for axes, name in zip(panels[0], names, strict=True):
        rows = results.more[name]
        for direction in DIRECTIONS:
            own = [row for row in rows if row.case.direction == direction]
            for peers, style in (((OURS,), "o-"), (TORCH, "o--")):
                found = [
                    (extent(row, name), speed) for row in own if (speed := fastest(row, peers)) is not None
                ]
                if found:
                    axes.plot(*zip(*found, strict=True), style, color=COLOURS[direction], markersize=3,
                              alpha=1 if peers == (OURS,) else 0.5, label=f"{direction}, {peers[0]}")  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(bottom=0)
        axes.set_xlabel(name)
        axes.grid(color="#eeeeee", linewidth=0.6)
    panels[0][0].set_ylabel("GFLOP/s")
    panels[0][-1].legend(fontsize=7)
    first = results.more[names[0]][0]
    figure.suptitle(f"3 x 3 convolution, {first.case.dtype}, threads {first.threads}", fontsize=11)
    return figure


def extent(row: Row, name: str) -> int:
    """What grows."""
    layer = row.case.layer
    return {"batch": row.case.batch, "channels": layer.channels, "image size": layer.size[0]}[name]


def fastest(row: Row, peers: Sequence[str]) -> float | None:
    times = [t for peer in peers if (t := seconds(row, peer)) is not None]
    return row.case.flops / min(times) / 1e9 if times else None
