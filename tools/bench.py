"""Time the kernels beside other libraries: `tools/bench.py --short`, `--list`, `--help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is not installed

from benchmarks.cli import main

if __name__ == "__main__":
    sys.exit(main())
