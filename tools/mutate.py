"""Plant faults in generated modules and count those that the tests see: the command `derive-kernels mutate`."""

import sys

from derive.cli import main

if __name__ == "__main__":
    sys.exit(main(["mutate", *sys.argv[1:]]))
