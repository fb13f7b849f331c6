"""`python -m gatelet` is the program `gatelet`."""

import os
import sys

from ._binary import find_gatelet_bin

if __name__ == "__main__":
    program = str(find_gatelet_bin())
    os.execv(program, [program, *sys.argv[1:]])
