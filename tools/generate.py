"""Generate the catalogue, or the operators of a file: the command `derive-kernels generate`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
