"""`esad`, and `python -m esad.pipeline`: the command line, and a quiet end where it is stopped while it is still loaded."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; Ctrl-C before it could even start ends as one during the work does (status 75)."""
    try:
        from esad.pipeline.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Stopped on request, before anything was done.\n")
        sys.exit(75)
    run()


if __name__ == "__main__":
    main()
