"""Keyed hashes of patients: stable under one key, unlinkable under another, and the key stays private."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import UsageError
from preprocessing.privacy import group_hash, key_name, read_key


@given(st.binary(min_size=16, max_size=64), st.text(max_size=30))
def test_the_hash_is_hmac_sha256(key, identifier):
    expected = hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()
    assert group_hash(key, identifier) == expected[:12]


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "group.key"
    key = read_key(path)
    assert read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["group.key"]
    other = read_key(tmp_path / "other.key")
    assert group_hash(other, "1") != group_hash(key, "1")
    assert key_name(other) != key_name(key)
    assert key_name(key) not in key.decode()


def test_a_file_too_short_to_be_a_key_is_refused(tmp_path):
    (tmp_path / "short").write_text("secret")
    with pytest.raises(UsageError, match="6 bytes are no key"):
        read_key(tmp_path / "short")
