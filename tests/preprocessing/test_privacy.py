"""Keyed hashes of patients: stable under one key, unlinkable under another, and the key stays private."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esad.preprocessing.errors import UsageError
from esad.preprocessing.privacy import (
    file_hash,
    group_hash,
    key_name,
    names_file,
    read_key,
    read_names,
    remember_names,
)


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


@pytest.mark.skipif(os.name != "posix", reason="this system has no such permissions")
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601, 0o777])
def test_a_key_or_a_list_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "group.key"
    read_key(path)
    remember_names(path, {"a.dcm": "1"})
    for file, read in ((path, read_key), (names_file(path), read_names)):
        file.chmod(mode)
        with pytest.raises(UsageError, match=rf"{file.name}: others may .*mode {mode:04o}.*chmod 600"):
            read(path)
        file.chmod(0o400)
        assert read(path)


@pytest.mark.skipif(os.name != "posix", reason="this system has no such permissions")
def test_a_key_of_another_owner_may_be_read_through_its_group(tmp_path, monkeypatch):
    path = tmp_path / "group.key"
    key = read_key(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    path.chmod(0o440)
    assert read_key(path) == key
    for mode in (0o460, 0o444):
        path.chmod(mode)
        with pytest.raises(UsageError, match="others may"):
            read_key(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="wants files of root")
def test_root_may_read_a_secret_as_kubernetes_hands_it_out(tmp_path):
    path = tmp_path / "group.key"
    key = read_key(path)
    path.chmod(0o440)
    assert read_key(path) == key


def test_a_file_too_short_to_be_a_key_is_refused(tmp_path):
    (tmp_path / "short").write_text("secret")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(UsageError, match="6 bytes are no key"):
        read_key(tmp_path / "short")


@given(st.text(max_size=30))
def test_a_file_and_a_patient_of_the_same_words_share_no_hash(words):
    key = b"k" * 16
    assert not file_hash(key, words).startswith(group_hash(key, words))


def test_names_are_listed_once_beside_the_key(tmp_path):
    key = tmp_path / "group.key"
    assert read_names(key) == {}
    remember_names(key, {"a,b.dcm": "1", 'c"d.dcm': "2"})
    remember_names(key, {"a,b.dcm": "1", "ü/e.dcm": "3"})
    assert read_names(key) == {"1": "a,b.dcm", "2": 'c"d.dcm', "3": "ü/e.dcm"}
    assert names_file(key).parent == tmp_path
    assert stat.S_IMODE(names_file(key).stat().st_mode) == 0o600
    assert len(names_file(key).read_text().splitlines()) == 3


def test_a_list_that_was_cut_anywhere_keeps_its_whole_lines_and_takes_the_others_anew(tmp_path):
    """As a kill in the middle of the append, or a full disk, leaves it: no name is cut short, none is swallowed by open quotes."""
    key, names = tmp_path / "group.key", {"a,b.dcm": "1", 'c"d\ne,f.dcm': "2", "ü/g.dcm": "3"}
    remember_names(key, names)
    right, whole = read_names(key), names_file(key).read_bytes()
    for cut in range(len(whole)):
        names_file(key).write_bytes(whole[:cut])
        assert read_names(key).items() <= right.items(), cut
        remember_names(key, {**names, "h.dcm": "4"})
        assert read_names(key) == {**right, "4": "h.dcm"}, cut
