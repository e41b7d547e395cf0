"""`python -m esad`: the command line."""

from esad.pipeline.__main__ import main

if __name__ == "__main__":
    main()
