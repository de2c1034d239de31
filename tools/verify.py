"""Verify every gradient, as CI does: the command `derive-kernels verify`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["verify", *sys.argv[1:]]))
