"""`python -m plurimask`."""

import sys

from plurimask.commands.main import main

if __name__ == "__main__":  # not in the workers that it starts, which import this module
    sys.exit(main())
