"""Results as text: lines for a terminal, and a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.peaks import bandwidth_at
from benchmarks.peers import PEERS
from benchmarks.results import Results
from benchmarks.run import Row, Timing
from benchmarks.summary import AGAINST, EVERYONE, OURS, TORCH, failures, ratio, seconds, summary, totals

HOW = {entry.name: entry.how for entry in PEERS}


def duration(value: float | None) -> str:
    """Three digits, in the unit that fits."""
    if value is None:
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 1 or unit == "us":
            scaled = value * factor
            return f"{scaled:.0f} {unit}" if scaled >= 99.5 else f"{scaled:.3g} {unit}"
    raise AssertionError


def times(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 0.095 else f"{value:.2f}" if value < 9.95 else f"{value:.0f}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def cell(timing: Timing | None) -> str:
    """A time, or the word for why there is none."""
    if timing is None:
        return "-"
    if timing.status == "ok":
        return duration(timing.seconds)
    return {"unsupported": "-", "missing": "-"}.get(timing.status, timing.status)


def of_peaks(row: Row, results: Results) -> tuple[float | None, float | None]:
    """Our fraction of the FMA peak, and of the copy bandwidth at the case's footprint."""
    peaks, taken = results.peaks.get(str(row.threads)), seconds(row, OURS)
    if peaks is None or "missing" in peaks or taken is None:
        return None, None
    case = row.case
    flops = case.flops / taken / peaks["fma"][case.dtype]["flops"]
    return flops, case.bytes / taken / bandwidth_at(peaks["copy"], case.bytes)


def layer_table(rows: Sequence[Row], results: Results) -> tuple[list[str], list[list[str]]]:
    """Head and cells, a line for each row."""
    names = [n for n in (OURS, *EVERYONE) if any(n in row.timings for row in rows)]
    head = [
        *("layer", "N", "dtype", "direction", "thr", *names, "x torch", "x anyone"),
        *("GFLOP/s", "GB/s", "of FMA", "of copy"),
    ]
    cells = []
    for row in rows:
        case, taken = row.case, seconds(row, OURS)
        flops, bandwidth = of_peaks(row, results)
        cells.append(
            [
                *(case.layer.name, str(case.batch), case.dtype, case.direction, str(row.threads)),
                *(cell(row.timings.get(name)) for name in names),
                *(times(ratio(row, TORCH)), times(ratio(row, EVERYONE))),
                "-" if taken is None else f"{case.flops / taken / 1e9:.1f}",
                "-" if taken is None else f"{case.bytes / taken / 1e9:.1f}",
                *(percent(flops), percent(bandwidth)),
            ]
        )
    return head, cells


def summary_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Geometric mean / minimum per group and direction against each of the peers."""
    lines = {against: summary(rows, against) for against in AGAINST}
    keys = dict.fromkeys((x.group, x.direction, x.threads) for x in lines["anyone"])
    head = ["class", "direction", "thr", "cases", *(f"x {name}" for name in AGAINST), "least x torch at"]
    cells = []
    for key in keys:
        found = {
            name: next((x for x in own if (x.group, x.direction, x.threads) == key), None)
            for name, own in lines.items()
        }
        shown = ["-" if x is None else f"{times(x.mean)} / {times(x.least)}" for x in found.values()]
        torch, anyone = found["torch"], found["anyone"]
        assert anyone is not None
        cells.append([key[0], key[1], str(key[2]), str(anyone.count), *shown, torch.worst if torch else "-"])
    return head, cells


def total_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    found = totals(rows)
    names = [n for n in (OURS, *EVERYONE) if any(n in t.seconds for t in found)]
    head = ["network", "N", "dtype", "direction", "thr", "layers", *names]
    cells = [
        [
            *(t.network, str(t.batch), t.dtype, t.direction, str(t.threads), str(t.layers)),
            *(duration(t.seconds.get(name)) for name in names),
        ]
        for t in found
    ]
    return head, cells


def plain(head: Sequence[str], cells: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns of a terminal; the first `left` are words."""
    if not cells:
        return "  (nothing)"
    widths = [max(len(line[i]) for line in (head, *cells)) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            t.ljust(w) if i < left else t.rjust(w) for i, (t, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in (head, *cells)
    )


def markdown(head: Sequence[str], cells: Iterable[Sequence[str]], left: int = 1) -> str:
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *cells))


def one_line(row: Row) -> str:
    """A row as soon as it is there."""
    parts = [
        f"{name} {cell(t)}" for name, t in row.timings.items() if t.status not in ("unsupported", "missing")
    ]
    case = row.case
    return (
        f"{case.name:<64} {row.threads} thr  x torch {times(ratio(row, TORCH)):>5}"
        f"  x anyone {times(ratio(row, EVERYONE)):>5}   {', '.join(parts)}"
    )


def peak_lines(results: Results) -> list[str]:
    lines = []
    for threads, peaks in results.peaks.items():
        if "missing" in peaks:
            lines.append(f"{threads} thr: not measured: {peaks['missing']}")
            continue
        fma = ", ".join(f"{dtype} {p['flops'] / 1e9:.0f} GFLOP/s" for dtype, p in peaks["fma"].items())
        copies = ", ".join(f"{c['bytes'] / 1e6:.0f} MB {c['bandwidth'] / 1e9:.0f}" for c in peaks["copy"])
        lines.append(f"{threads} thr: FMA {fma}; copy, GB/s by footprint: {copies}")
    return lines


def machine_line(results: Results) -> str:
    m = results.machine
    caches = ", ".join(f"{name} {size // 1024} KiB" for name, size in m["caches"].items())
    return (
        f"{m['processor']} ({m['numba_target']}; {' '.join(m['flags'])}), {m['cores']} cores, {caches}, "
        f"{m['memory'] / 2**30:.0f} GiB; {m['system']}, Python {m['python']}, threading layer "
        f"{m['threading_layer']}; load {m['load'][0]} at the start"
    )


def peer_lines(results: Results) -> list[str]:
    lines = []
    for name, versions in results.peers.items():
        known = ", ".join(f"{key} {value}" for key, value in versions.items())
        lines.append(f"{name}: {known}" + (f" ({HOW[name]})" if name in HOW else ""))
    return lines


def noisy(rows: Sequence[Row]) -> str:
    """How many timings were disturbed: fewer cores at work than asked of a single thread."""
    shared = [
        t.cores for row in rows for t in row.timings.values() if t.cores is not None and row.threads == 1
    ]
    disturbed = sum(cores < 0.9 for cores in shared)
    more = sum(cores > 1.1 for cores in shared)
    text = f"{disturbed} of {len(shared)} one-thread timings had less than 90 % of a core"
    return text + (f"; {more} used more than one" if more else "")


def terminal(results: Results) -> str:
    parts = [plain(*summary_table(results.rows), left=2)]
    if any(total_table(results.rows)[1]):
        parts.append(
            "All layers of a network, each as often as it occurs:\n" + plain(*total_table(results.rows))
        )
    failed = [
        f"  {row.case.name}: {peer} {status}: {why}" for row, peer, status, why in failures(results.rows)
    ]
    parts += ["\n".join(["Not timed:", *failed])] if failed else []
    parts.append(
        "\n".join([machine_line(results), *peer_lines(results), *peak_lines(results), noisy(results.rows)])
    )
    for table in (overhead_table(results), startup_table(results), scaling_table(results)):
        if table[1]:
            parts.insert(-1, plain(*table))
    if results.unreached:
        parts.append(f"{results.unreached} cases were not reached within the time limit")
    return "\n\n".join(parts)


def overhead_table(results: Results) -> tuple[list[str], list[list[str]]]:
    rows = results.more.get("overhead", [])
    names = list(rows[0].timings) if rows else []
    cells = [
        [row.case.name, str(row.threads), *(cell(row.timings.get(name)) for name in names)] for row in rows
    ]
    return ["a tiny call", "thr", *names], cells


def startup_table(results: Results) -> tuple[list[str], list[list[str]]]:
    cells = [
        [what, value if isinstance(value, str) else duration(value)]
        for what, value in results.startup.items()
    ]
    return ["start-up", "time"], cells


def scaling_table(results: Results) -> tuple[list[str], list[list[str]]]:
    rows = [row for name, found in results.more.items() if name != "overhead" for row in found]
    names = list(dict.fromkeys(name for row in rows for name in row.timings))
    cells = [
        [
            *(row.case.name, str(row.threads)),
            *(cell(row.timings.get(name)) for name in names),
            times(ratio(row, TORCH)),
        ]
        for row in rows
    ]
    return ["scaling", "thr", *names, "x torch"], cells


def page(results: Results, pictures: Sequence[str]) -> str:
    """The Markdown report."""
    rows = results.rows
    parts = [
        f"# Bench of {results.date}",
        machine_line(results) + ".",
        f"{len(rows)} cases, {results.settings.get('rounds')} rounds; `x torch` is the time of the better of torch "
        "NCHW and torch channels-last by ours, `x anyone` that of the best peer: above 1 ours is faster. "
        f"{noisy(rows)}. How things are measured: [README](../README.md)."
        + (f" {results.unreached} cases were not reached." if results.unreached else ""),
        "\n".join(f"- {line}" for line in (*peer_lines(results), *peak_lines(results))),
        *(f"![{name}]({name})" for name in pictures if not name.startswith("layers")),
        "## Classes",
        "Geometric mean / least.",
        markdown(*summary_table(rows), left=2),
    ]
    for title, table in (
        ("Networks: each layer as often as it occurs", total_table(rows)),
        ("Call overhead", overhead_table(results)),
        ("Start-up", startup_table(results)),
        ("Scaling", scaling_table(results)),
    ):
        parts += [f"## {title}", markdown(*table)] if table[1] else []
    failed = [f"- {row.case.name}, {row.threads} thr: {p} {s}: {why}" for row, p, s, why in failures(rows)]
    parts += ["## Not timed", "\n".join(failed)] if failed else []
    parts += [
        "## Layers",
        *(f"![{name}]({name})" for name in pictures if name.startswith("layers")),
        markdown(*layer_table(rows, results)),
    ]
    return "\n\n".join(parts) + "\n"
