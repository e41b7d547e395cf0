"""The tests, in the same rooms as the code."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
PYTHONPATH = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
"""For processes of tests: the packages of this checkout, whatever is installed, and then the tests themselves."""
