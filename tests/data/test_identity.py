import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dalcli.data.identity import (
    digest_from_id,
    digests,
    id_from_digest,
    is_sample_id,
    reserve_position,
    sample_id,
    tie_keys,
)

# SHA-256 of "abc", from FIPS 180-2.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
MASK = 2**64 - 1


def some_digests(count: int, seed: int = 0) -> np.ndarray:
    """Digests as the hash of consecutive contents, the way real ones come about."""
    raw = b"".join(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:16] for index in range(count))
    return np.frombuffer(raw, np.uint8).reshape(count, 16)


def splitmix(value: int) -> int:
    """SplitMix64's output function in plain integers."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_sample_id_is_the_start_of_sha256() -> None:
    assert sample_id(b"abc") == f"s-{ABC[:32]}"


def test_a_file_has_the_id_of_its_bytes(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3_000_001)
    file = tmp_path / "image.png"
    file.write_bytes(content)
    assert sample_id(file) == sample_id(content) == f"s-{hashlib.sha256(content).hexdigest()[:32]}"


@given(st.binary(min_size=16, max_size=16))
def test_digest_and_id_are_two_ways_to_write_the_same(digest: bytes) -> None:
    identity = id_from_digest(digest)
    assert is_sample_id(identity)
    assert digest_from_id(identity) == digest
    assert digests([identity, identity]).tobytes() == digest * 2


@pytest.mark.parametrize(
    "text", ["", "s-", f"S-{ABC[:32]}", f"s-{ABC[:31]}", f"s-{ABC[:33]}", f" s-{ABC[:32]}", f"s-{ABC[:32]}\n"]
)
def test_anything_else_is_not_a_sample_id(text: str) -> None:
    assert not is_sample_id(text)
    with pytest.raises(ValueError, match="not a sample id"):
        digest_from_id(text)


def test_a_digest_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        id_from_digest(b"short")


def test_reserve_positions_are_uniform_and_depend_on_the_seed() -> None:
    identities = [sample_id(str(index).encode()) for index in range(4000)]
    first, second = (np.array([reserve_position(seed, identity) for identity in identities]) for seed in (0, 1))
    for positions in (first, second):
        assert positions.min() >= 0
        assert positions.max() < 1
        assert stats.kstest(positions, "uniform").pvalue > 1e-3
    assert abs(stats.spearmanr(first, second).statistic) < 4 / np.sqrt(4000)


def test_reserve_position_never_changes() -> None:
    assert reserve_position(7, sample_id(b"abc")) == reserve_position(7, sample_id(b"abc"))
    # Pinned: if it changed, evaluation samples of existing workspaces would be offered for training.
    assert reserve_position(7, sample_id(b"abc")) == 0.16400953293623366


def test_tie_keys_agree_with_plain_integer_arithmetic() -> None:
    seeds = (0, 1, 2**63 - 1)
    for seed in seeds:
        expected = []
        for digest in some_digests(20):
            low, high = (int.from_bytes(half.tobytes(), "little") for half in (digest[:8], digest[8:]))
            expected.append(splitmix(splitmix(low ^ splitmix(seed)) ^ high))
        assert tie_keys(seed, some_digests(20)).tolist() == expected


def test_tie_keys_are_uniform_and_independent_across_seeds_and_of_the_reserve() -> None:
    count = 20_000
    all_digests = some_digests(count)
    keys = {seed: tie_keys(seed, all_digests) / 2.0**64 for seed in (0, 1, 2, 2**62)}
    bound = 4.5 / np.sqrt(count)
    for values in keys.values():
        assert stats.kstest(values, "uniform").pvalue > 1e-3
    seeds = list(keys)
    for index, first in enumerate(seeds):
        for second in seeds[index + 1 :]:
            assert abs(stats.spearmanr(keys[first], keys[second]).statistic) < bound
            grid = np.histogram2d(keys[first], keys[second], bins=16)[0]
            assert stats.chisquare(grid.ravel()).pvalue > 1e-4
    u = np.array([reserve_position(0, id_from_digest(digest.tobytes())) for digest in all_digests[:5000]])
    assert abs(stats.spearmanr(u, keys[0][:5000]).statistic) < 4.5 / np.sqrt(5000)


def test_every_bit_of_the_digest_changes_half_of_the_key() -> None:
    base = some_digests(200)
    for bit in range(128):
        flipped = base.copy()
        flipped[:, bit // 8] ^= np.uint8(1 << (bit % 8))
        changed = np.bitwise_count(tie_keys(3, base) ^ tie_keys(3, flipped)).mean()
        assert 30 < changed < 34


def test_tie_keys_of_nothing_and_of_strided_input() -> None:
    assert tie_keys(0, some_digests(0)).shape == (0,)
    strided = some_digests(10)[::2]
    assert tie_keys(0, strided).tolist() == tie_keys(0, strided.copy()).tolist()
    with pytest.raises(ValueError, match="uint8"):
        tie_keys(0, np.zeros((3, 15), np.uint8))
