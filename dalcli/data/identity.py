"""Who a sample is: its bytes, and nothing else.

A sample id is ``s-`` and the first 32 hexadecimal digits of the SHA-256 of the file's bytes (128 bits: among a
billion samples a collision has a chance of about 1e-21). The letter keeps label tools from reading it as a number.

Two keyed hashes of the id decide everything that must be random yet never change: whether a sample is reserved
for evaluation (:func:`reserve_position`) and which of two equally good samples comes first (:func:`tie_keys`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed

DIGEST_BYTES = 16
_SAMPLE_ID = re.compile(r"s-[0-9a-f]{32}")
_SAMPLE_IDS = re.compile(rf"(?:{_SAMPLE_ID.pattern}\n)+")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def sample_id(source: bytes | Path) -> str:
    """Sample id of some bytes, or of a file's bytes (read in pieces, so size does not matter; raises OSError)."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    else:
        digest = hashlib.sha256(source).digest()
    return id_from_digest(digest[:DIGEST_BYTES])


def is_sample_id(text: str) -> bool:
    """Whether ``text`` is written like a sample id (exactly: lower case, nothing around it)."""
    return _SAMPLE_ID.fullmatch(text) is not None


def id_from_digest(digest: bytes) -> str:
    """Sample id of a 16-byte digest."""
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
    return f"s-{digest.hex()}"


def digest_from_id(sample_id: str) -> bytes:
    """The 16-byte digest inside a sample id; ValueError if it is none."""
    if not is_sample_id(sample_id):
        raise ValueError(f"{sample_id!r} is not a sample id")
    return bytes.fromhex(sample_id[2:])


def digests(sample_ids: Sequence[str]) -> NDArray[np.uint8]:
    """The digests of ``sample_ids`` as ``(n, 16)`` uint8, for :func:`tie_keys`."""
    lines = "\n".join(sample_ids) + "\n"
    if _SAMPLE_IDS.fullmatch(lines):  # one look at all of a million
        joined = bytes.fromhex(lines.replace("s-", "").replace("\n", ""))
    else:
        joined = b"".join(digest_from_id(sample_id) for sample_id in sample_ids)  # says which one is none
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def reserve_position(seed: int, sample_id: str) -> float:
    """u in [0, 1): samples with u below the configured reserve are kept for evaluation, in order of u.

    Depends on nothing but the seed and the sample's content, so it is the same whenever and under whatever name
    the sample is registered. Uses 53 bits, all that a float in [0, 1) holds.
    """
    return (derive_seed(seed, "evaluation reserve", sample_id) >> 10) * 2.0**-53


def tie_keys(seed: int, digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One 64-bit key per sample that orders equals at random: ``(n, 16)`` uint8 digests to ``(n,)`` uint64.

    A chain of SplitMix64 finalisers (Steele, Lea & Flood 2014) over the seed and both halves of the digest:
    keys for different seeds, and :func:`reserve_position`, are statistically independent of one another.
    ``seed`` is a 63-bit number as :func:`~dalcli.config.hashing.derive_seed` returns it.
    """
    if digests.ndim != 2 or digests.shape[1] != DIGEST_BYTES or digests.dtype != np.uint8:
        raise ValueError(f"expected (n, {DIGEST_BYTES}) uint8, got {digests.shape} {digests.dtype}")
    halves = np.ascontiguousarray(digests).view("<u8").astype(np.uint64)
    start = _mix(np.full(1, seed, dtype=np.uint64))
    return _mix(_mix(halves[:, 0] ^ start) ^ halves[:, 1])


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MULTIPLIERS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(31))
