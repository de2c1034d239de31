"""Run kernels over polynomials at every configuration of a box: the command `derive-kernels exact`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["exact", *sys.argv[1:]]))
