"""`python -m billingsync`."""

import sys

from billingsync.cli import main

sys.exit(main())
