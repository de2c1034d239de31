"""Real worker processes, ours and a fake one. Nothing here asserts how long anything takes."""

from __future__ import annotations

import json

import pytest

from benchmarks import cli
from benchmarks.cases import Case
from benchmarks.layers import Pooling
from benchmarks.peers import PEERS, Entry
from benchmarks.run import Settings, peers
from benchmarks.session import environment
from tests.support import fake_peer

POOL = Pooling("avg", 2, (4, 4), (4, 4), (4, 4), (0, 0), whole=True)
QUICK = Settings(rounds=2, seconds=0.001, timeout=3)


def pool(batch, direction="forward"):
    return Case(POOL, batch, "float32", direction)


@pytest.fixture(scope="module")
def group():
    ours = next(entry for entry in PEERS if entry.name == "ours")
    entries = [
        ours,
        Entry("fake", "tests.support.fake_peer", "", ""),
        Entry("absent", "no.such.module", "pip install it", ""),
    ]
    with peers(entries, 1, Settings(rounds=2, seconds=0.001, timeout=60)) as found:
        found.row(pool(1), 1)  # compiles
        found.settings = QUICK
        yield found


def test_two_peers_agree_and_are_timed(group):
    timings = group.row(pool(1), 1).timings
    assert [timings[name].status for name in ("ours", "fake", "absent")] == ["ok", "ok", "missing"]
    assert len(timings["ours"].rounds) == 2
    assert min(timings["ours"].rounds) > 0
    assert timings["absent"].reason == "there is no module no; pip install it"
    assert group.versions["fake"] == {"fake": "1"}


@pytest.mark.parametrize(
    ("batch", "status", "reason"),
    [
        (fake_peer.WRONG, "wrong", "differs from the first peer"),
        (fake_peer.FAILS, "failed", "ValueError: three is"),
        (fake_peer.DIES, "died", "was ended by SIGKILL"),
        (fake_peer.HANGS, "timeout", "no answer within 3 s"),
        (fake_peer.LACKS, "unsupported", "no six"),
    ],
)
def test_trouble_is_a_line_in_the_report(group, batch, status, reason):
    timings = group.row(pool(batch), 1).timings
    assert timings["ours"].status == "ok"
    assert timings["fake"].status == status
    assert reason in timings["fake"].reason
    assert timings["fake"].seconds is None
    assert group.row(pool(1), 1).timings["fake"].status == "ok"  # it recovers


def test_everyone_gets_the_same_threads():
    assert {v for k, v in environment(3).items() if k.endswith("_NUM_THREADS")} == {"3"}


def test_end_to_end(tmp_path, capsys):
    arguments = [
        "--suite",
        "holes",
        "--only",
        "global_max_pool.*n1 float32 forward",
        "--threads",
        "1",
        "--no-peaks",
    ]
    arguments += ["--peers", "ours", "--rounds", "1", "--seconds", "0.001", "--date", "2000-01-01"]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["date"] == "2000-01-01"
    (row,) = data["rows"]
    assert row["timings"]["ours"]["status"] == "ok"
    assert "global_max_pool" in (tmp_path / "README.md").read_text()
    assert cli.main(["--from", str(tmp_path / "results.json"), "--out", str(tmp_path / "again")]) == 0
    assert "results.json" in capsys.readouterr().out


def test_list_and_no_match(capsys):
    assert cli.main(["--list", "--suite", "vgg16", "--batch", "1", "--dtype", "float32"]) == 0
    assert "42 cases" in capsys.readouterr().out
    assert cli.main(["--only", "no such layer"]) == 2


def test_a_time_limit_of_nothing_reaches_nothing(tmp_path, capsys):
    arguments = ["--suite", "dcgan", "--batch", "1", "--dtype", "float32", "--threads", "1", "--no-peaks"]
    assert cli.main([*arguments, "--peers", "ours", "--limit", "0", "--out", str(tmp_path)]) == 0
    assert "15 cases were not reached" in capsys.readouterr().out
