"""Pixels straight from image files: decoded when asked for, and kept while there is room."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.data.colour import Colour
from dalcli.data.decoding import WHITE, DecodeError, decode
from dalcli.data.pixels import Failure, IntArray, UInt8Array, UnreadableImagesError
from dalcli.data.resizing import Interpolation, Resize
from dalcli.runtime.parallel import ordered_map


class FilePixels:
    """A :class:`~dalcli.data.pixels.PixelSource` over image files, decoded by :func:`~dalcli.data.decoding.decode`.

    If all images together fit ``memory_limit_bytes``, each is decoded once and kept; else at every read. One
    thread may read while another prefetches: at worst both decode the same image.
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        image_size: tuple[int, int],
        resize: Resize = "stretch",
        alpha_background: Colour = WHITE,
        crop_fraction: float = 1.0,
        interpolation: Interpolation = "bilinear",
        *,
        workers: int | None = None,
        memory_limit_bytes: int = 2**30,
    ) -> None:
        self._paths = tuple(paths)
        self._shape = (*image_size, 3)
        self._decode = partial(
            decode,
            image_size=image_size,
            resize=resize,
            alpha_background=alpha_background,
            crop_fraction=crop_fraction,
            interpolation=interpolation,
        )
        self._workers = workers
        fits = len(self._paths) * image_size[0] * image_size[1] * 3 <= memory_limit_bytes
        # The system hands out the memory of an empty array page by page, as images are decoded into it.
        self._kept = np.empty((len(self._paths), *self._shape), np.uint8) if fits else None
        self._is_kept = np.zeros(len(self._paths), bool)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: IntArray) -> UInt8Array:
        """Pixels of ``rows`` (any order, repeats allowed) as ``(len(rows), H, W, 3)`` uint8.

        Raises:
            UnreadableImagesError: with every row of this read that could not be decoded.
            IndexError: for a row outside the source.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} are not all within 0 to {len(self) - 1}")
        unique, inverse = np.unique(rows, return_inverse=True)
        if self._kept is None:
            pixels = np.empty((len(unique), *self._shape), np.uint8)
            self._decode_into(pixels, unique, np.arange(len(unique)))
            return pixels if np.array_equal(unique, rows) else pixels[inverse]
        fresh = unique[~self._is_kept[unique]]
        self._decode_into(self._kept, fresh, fresh)
        return self._kept[rows]

    def _decode_into(self, target: UInt8Array, rows: IntArray, places: NDArray[np.int64]) -> None:
        """Decode ``rows`` into ``target[places]``, all of them, then complain about those that failed."""

        def work(row_and_place: tuple[int, int]) -> Failure | None:
            row, place = row_and_place
            try:
                target[place] = self._decode(Path(self._paths[row]))
            except DecodeError as error:
                return Failure(row, str(self._paths[row]), error.reason, error.missing)
            # Only now, so that the other thread never takes a row that is half written.
            self._is_kept[row] = target is self._kept
            return None

        jobs = zip(rows.tolist(), places.tolist(), strict=True)
        failures = [failure for failure in ordered_map(work, jobs, self._workers) if failure is not None]
        if failures:
            raise UnreadableImagesError(failures)
