"""Make calls that nobody should make, of every shipped operator: the command `derive-kernels fuzz`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["fuzz", *sys.argv[1:]]))
