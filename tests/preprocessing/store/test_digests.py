"""A file's digest is BLAKE3's, and those that older versions wrote are still known."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from esad.preprocessing.store.digests import file_digest, has_digest

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""BLAKE3 of nothing, from its reference implementation's test vectors."""


def test_the_digest_is_blake3s(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"")
    assert file_digest(path) == f"blake3:{EMPTY}"
    assert has_digest(path, f"blake3:{EMPTY}")


@pytest.mark.parametrize("place", [0, 300_000, 999_999])
def test_a_changed_byte_is_found_by_new_digests_and_old_ones(tmp_path, place):
    content = bytearray(np.random.default_rng(0).bytes(1_000_000))
    path = tmp_path / "a"
    path.write_bytes(content)
    stated = (file_digest(path), hashlib.blake2b(content, digest_size=16).hexdigest())
    assert all(has_digest(path, digest) for digest in stated)
    content[place] ^= 1
    path.write_bytes(content)
    assert not any(has_digest(path, digest) for digest in stated)


@pytest.mark.parametrize("stated", [None, 5, "", [], "blake3:"])
def test_what_is_no_digest_is_none_of_the_file(tmp_path, stated):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    assert not has_digest(path, stated)
