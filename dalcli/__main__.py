"""``python -m dalcli`` is the same program as the ``dalcli`` console script."""

import sys


def run() -> None:
    """Console-script entry point."""
    try:
        from dalcli.cli.main import main
    except KeyboardInterrupt:  # before there is anybody to say so
        sys.exit(130)
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
