"""How torchvision's data sets are opened: what it cannot do becomes an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dalcli.errors import DalcliError
from dalcli.simulation.sources.base import missing_package


@contextmanager
def explained(kind: str, folder: Path) -> Iterator[None]:
    """Turn torchvision's errors (not there, damaged, no network) into ones with a remedy.

    Raises:
        DalcliError: naming the folder.
    """
    try:
        yield
    except ImportError as error:
        raise missing_package(kind, error.name or "torchvision", "datasets") from None
    except (RuntimeError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DalcliError(
            f"source {kind}: the data set is not complete in {folder} and could not be had: {reason}",
            "put its original files there, or run on a machine with a network and `download: true`",
        ) from None


def open_set(kind: str, make: Callable[..., Any], folder: Path, download: bool, **options: Any) -> Any:
    """``make(root=folder, ...)``; downloads only what is not there yet.

    Raises:
        DalcliError: the files are not there and cannot be had.
    """
    with explained(kind, folder):
        try:
            return make(root=str(folder), download=False, **options)
        except RuntimeError:
            if not download:
                raise
        folder.mkdir(parents=True, exist_ok=True)
        return make(root=str(folder), download=True, **options)
