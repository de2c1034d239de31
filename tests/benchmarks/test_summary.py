"""Arithmetic on made-up timings, the file they are kept in, tables and pictures made of them."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks.cases import Case
from benchmarks.layers import Convolution
from benchmarks.peaks import bandwidth_at
from benchmarks.report import duration, page, plain, terminal, times
from benchmarks.results import FormatError, Results, load
from benchmarks.run import Row, Timing
from benchmarks.scaling import square
from benchmarks.summary import best, failures, geometric_mean, ratio, summary, totals

MACHINE = {
    "processor": "abacus",
    "numba_target": "wood",
    "flags": ["beads"],
    "cores": 1,
    "caches": {"L2": 2048},
    "memory": 2**30,
    "system": "Table",
    "python": "3",
    "threading_layer": "hand",
    "load": [0.0],
}
PEAKS = {
    "1": {
        "fma": {"float32": {"flops": 1e12}, "float64": {"flops": 5e11}},
        "copy": [{"bytes": 1e6, "bandwidth": 4e11}, {"bytes": 1e8, "bandwidth": 2e11}],
    }
}


def row(channels=64, direction="forward", uses=(("net", 2),), threads=1, **seconds):
    case = Case(square(channels, 8), 1, "float32", direction, uses)
    timings = {
        name: Timing("ok", rounds=(t, 9 * t, t / 9), first=1.0, cores=1.0, error=0.0)
        if isinstance(t, float)
        else Timing(t, "because")
        for name, t in seconds.items()
    }
    return Row(case, threads, timings)


def results(*rows):
    return Results("2000-01-01", MACHINE, {"rounds": 3}, {"ours": {"kernels": "1"}}, PEAKS, list(rows))


SOME = (
    row(64, **{"ours": 2e-3, "torch": 8e-3, "torch-nhwc": 4e-3, "jax": 1e-3}),
    row(32, **{"ours": 2e-3, "torch": 1e-3, "torch-nhwc": "died", "jax": "unsupported"}),
    row(32, "grad-input", **{"ours": "wrong", "torch": 1e-3, "torch-nhwc": 3e-3, "jax": 1e-3}),
)


def test_ratio_is_the_best_peer_by_ours():
    assert ratio(SOME[0], ("torch", "torch-nhwc")) == 2
    assert ratio(SOME[0], ("torch", "jax")) == 0.5
    assert ratio(SOME[1], ("jax",)) is None
    assert ratio(SOME[2], ("torch",)) is None
    assert best(SOME[0]) == "jax"


def test_summary():
    (line,) = summary(SOME, "torch")  # the wrong one has no ratio
    assert (line.group, line.direction, line.count, line.least) == ("dense", "forward", 2, 0.5)
    assert line.mean == pytest.approx(1)
    assert line.worst == SOME[1].case.name
    assert geometric_mean([1, 4, 16]) == pytest.approx(4)


def test_totals_count_uses_and_only_whole_networks():
    (forward,) = totals(SOME)
    assert forward.seconds == {"ours": pytest.approx(8e-3), "torch": pytest.approx(18e-3)}
    assert forward.layers == 2


def test_failures():
    assert [(peer, status) for _, peer, status, _ in failures(SOME)] == [
        ("torch-nhwc", "died"),
        ("ours", "wrong"),
    ]


def test_formats():
    assert [duration(s) for s in (None, 1.234, 0.5, 123.4e-3, 12e-6, 0.4e-6)] == [
        *("-", "1.23 s", "500 ms", "123 ms", "12 us", "0.4 us")
    ]
    assert [times(v) for v in (None, 0.0123, 0.95, 12.3)] == ["-", "0.012", "0.95", "12"]
    assert plain(["a", "bb"], [["ccc", "d"]]) == "a    bb\nccc   d"


def test_bandwidth_between_footprints():
    copies = PEAKS["1"]["copy"]
    assert [bandwidth_at(copies, f) for f in (1e3, 1e6, 1e7, 1e8, 1e12)] == pytest.approx(
        [4e11, 4e11, 3e11, 2e11, 2e11]
    )


def test_file_round_trip(tmp_path):
    path = tmp_path / "deep" / "results.json"
    wanted = results(*SOME)
    wanted.more = {"overhead": [SOME[0]]}
    wanted.save(path)
    assert load(path) == wanted
    (first, *_) = json.loads(path.read_text())["rows"]
    assert first["flops"] == SOME[0].case.flops
    assert set(first) == {"name", "group", "flops", "bytes", "case", "threads", "timings"}
    assert first["timings"]["ours"]["seconds"] == 2e-3
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=0), "has not format 1"),
        (lambda d: d.pop("machine"), "machine"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d["rows"][0]["timings"]["ours"].pop("rounds"), "rounds"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    data = json.loads(json.dumps(results(*SOME).data()))
    change(data)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    with pytest.raises(FormatError, match=message):
        load(path)


def test_reports_say_everything():
    text, markdown = terminal(results(*SOME)), page(results(*SOME), ["classes.png", "layers.png"])
    for report in (text, markdown):
        assert "abacus" in report
        assert "ours wrong: because" in report
        assert "1.00 / 0.50" in report
    fraction = SOME[0].case.flops / 2e-3 / 1e12
    assert f"{100 * fraction:.0f} %" in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    for above, below in itertools.pairwise(lines):
        if below.startswith("| ---"):
            assert above.count("|") == below.count("|")


def test_pictures_show_something(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from benchmarks.pictures import draw

    found = results(*SOME, row(16, "grad-weight", ours=1e-3, torch=1e-3))
    found.more = {"batch": [row(64, ours=1e-3, torch=2e-3)]}
    made = draw(found, tmp_path)
    assert sorted(p.name.split("-")[0] for p in made) == ["classes", "layers", "roofline", "scaling.png"]
    for path in made:
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 100
        assert 0.01 < (pixels[..., :3].min(2) < 0.95).mean() < 0.9  # neither blank nor black


def test_a_long_kernel_is_no_dense_layer():
    assert Convolution(1, 1, (99,), (64,), (1,), (0,), (1,)).kind == "long kernel"
