"""`derive-kernels geometry`: files in, a table and a picture out."""

from __future__ import annotations

import pytest

from derive.cli import main
from derive.errors import GeometryError
from derive.geometry.load import load_network

TEXT = "input[1, 1, 16, 16]\nconv: conv2d weight[2, ?, 3, 3]\nmax_pool2d kernel_size=2\n"
PYTHON = """
from kernels.reading import from_text
NET = from_text("input[1, 1, 16]\\nconv1d weight[1, 1, 5]").network
"""


def test_a_table_and_a_picture(tmp_path, capsys):
    (tmp_path / "net.txt").write_text(TEXT)
    picture = tmp_path / "out" / "field.png"
    assert main(["geometry", str(tmp_path / "net.txt"), "--png", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "input 1x1x16x16"
    assert lines[3].split() == ["conv", "conv2d", "1x2x14x14", "3", "1", "0", "1", "0/0", "18", "7,056"]
    assert lines[-1] == str(picture)
    matplotlib = pytest.importorskip("matplotlib.pyplot")
    image = matplotlib.imread(picture)
    assert image.shape[1] > 1000
    assert len({tuple(p) for p in image[::7, ::7, :3].reshape(-1, 3).tolist()}) > 10  # something is drawn


def test_a_python_file_and_the_shape_of_its_input(tmp_path, capsys):
    path = tmp_path / "net.py"
    path.write_text(PYTHON)
    assert main(["geometry", str(path)]) == 1
    assert "the shape of `input` is not in" in capsys.readouterr().err
    assert main(["geometry", str(path), "--input", "1,1,16"]) == 0
    assert "1x1x12" in capsys.readouterr().out
    path.write_text(PYTHON + "INPUT = (1, 1, 20)\n")
    assert main(["geometry", str(path)]) == 0
    assert "1x1x16" in capsys.readouterr().out


def test_what_is_no_network_is_said(tmp_path, capsys):
    path = tmp_path / "net.py"
    path.write_text("x = 1\n")
    with pytest.raises(GeometryError, match="no network at the top level"):
        load_network(path)
    path.write_text(PYTHON + "OTHER = from_text('input[1, 1, 4]\\nrelu').network\n")
    with pytest.raises(GeometryError, match="2 networks at the top level"):
        load_network(path)
    (tmp_path / "net.txt").write_text("input[1, 1, 4]\nnothing")
    assert main(["geometry", str(tmp_path / "net.txt")]) == 1
    assert "line 2: no operator is called nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["geometry", str(path), "--input", "1,x"])
    assert "needs whole numbers between commas" in capsys.readouterr().err
    assert main(["geometry", str(path), "--input", "1,1,16", "--input", "1,1,16"]) == 1


@pytest.mark.external
def test_a_sequential(tmp_path, capsys):
    pytest.importorskip("torch")
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\nINPUT = (1, 3, 32, 32)\n"
        "NET = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 5))\n"
    )
    assert main(["geometry", str(path)]) == 0
    assert "1x2048" in capsys.readouterr().out
