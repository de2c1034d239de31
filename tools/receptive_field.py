"""Receptive fields of a network; see `derive-kernels geometry --help`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["geometry", *sys.argv[1:]]))
