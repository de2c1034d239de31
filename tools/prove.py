"""Prove what loops visit, for all sizes: the command `derive-kernels prove`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["prove", *sys.argv[1:]]))
