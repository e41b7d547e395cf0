"""`python -m pipeline` is `esad`."""

from pipeline.cli import main

main()
