"""Lets ``python -m bids_tract`` do what ``bids_tract`` does."""

import sys

from bids_tract.cli import main

if __name__ == "__main__":
    sys.exit(main())
