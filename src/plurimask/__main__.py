"""`python -m plurimask`."""

import sys

from plurimask.commands.main import main

sys.exit(main())
