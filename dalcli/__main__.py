"""``python -m dalcli`` is the same program as the ``dalcli`` console script."""

import gc
import sys

# Importing torch makes 180,000 objects that stay. Looking through them every 700 new ones, and once more at
# the end, takes a fifth of a second of every command that needs torch.
_OBJECTS_BETWEEN_COLLECTIONS = 10_000


def run() -> None:
    """Console-script entry point."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from dalcli.cli.main import main
    except KeyboardInterrupt:  # before there is anybody to say so
        sys.exit(130)
    status = main(sys.argv[1:])
    gc.freeze()  # what is left goes with the process
    sys.exit(status)


if __name__ == "__main__":
    run()
