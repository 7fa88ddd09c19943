"""Lives run the product as the crash campaigns do: in one process, on virtual time, without sockets."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))
