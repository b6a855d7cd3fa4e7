"""`python -m app_server` is `turnloom`."""

import sys

from app_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
