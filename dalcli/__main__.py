"""``python -m dalcli`` is the same program as the ``dalcli`` console script."""

import sys


def run() -> None:
    """Console-script entry point."""
    from dalcli.cli.main import main

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
