"""No text of a DICOM file, no file name with --anonymous, in any output of any stage."""

from __future__ import annotations

import stat
import warnings
import zipfile

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from esad.pipeline.cli.app import call
from esad.preprocessing.privacy import file_hash, names_file, read_key, read_names
from esad.preprocessing.store.store import Store
from tests.pipeline.stores import QUICK
from tests.pipeline.test_tile import stained, write_slide
from tests.preprocessing.radiographs.dicom_files import content_of, make_dicom

MARKER, COUNT = "MARKERXQ", 16
TEXT_KINDS = (
    "PN", "LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS", "DA", "TM", "DT", "AS", "UI", "IS", "DS",
)  # fmt: skip
NEEDED = {
    "PhotometricInterpretation", "ViewPosition", "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "SpecificCharacterSet", "VOILUTSequence", "ModalityLUTSequence",
}  # fmt: skip


def with_markers(image, depth=0):
    """Every text element of the dictionary, every sequence and a private block hold the marker; how many do."""
    filled = 0
    for tag, (kind, _, _, _, keyword) in DicomDictionary.items():
        if not keyword or keyword in NEEDED or Tag(tag).group < 8:
            continue
        if kind in TEXT_KINDS:
            image[tag] = pydicom.DataElement(tag, "LO", MARKER)  # written as text whatever its kind
            filled += 1
        elif kind == "SQ" and depth == 0:
            item = Dataset()
            for inner in (0x00100010, 0x00100020, 0x00080100, 0x00080104):
                item[inner] = pydicom.DataElement(inner, "LO", MARKER)
            image[tag] = pydicom.DataElement(tag, "SQ", [item])
            filled += 4
    block = image.private_block(0x0011, MARKER, create=True)
    block.add_new(1, "LO", MARKER)
    block.add_new(2, "UN", MARKER.encode())
    nested = Dataset()
    nested.private_block(0x0013, MARKER, create=True).add_new(1, "PN", MARKER)
    block.add_new(3, "SQ", [nested])
    return filled + 3


def marked_file(pixels, **elements):
    """A DICOM file with the marker in every text, in its file meta, its preamble and behind its end."""
    image = make_dicom(pixels, **elements)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled = with_markers(image)
        image.file_meta.SourceApplicationEntityTitle = MARKER
        image.file_meta.ImplementationVersionName = MARKER
        image.file_meta.PrivateInformationCreatorUID = "1.2.3"
        image.file_meta.PrivateInformation = MARKER.encode()
        image.preamble = (MARKER.encode() * 16)[:128]
        content = content_of(image)
    assert filled > 3000
    assert content.count(MARKER.encode()) > filled
    return content


def holding_marker(folder):
    """The files below `folder` that hold the marker; tables are unpacked."""
    found, seen = [], 0
    for path in folder.rglob("*"):
        if path.is_file():
            seen += 1
            text = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else ""
            if (
                MARKER.encode() in path.read_bytes()
                or MARKER in text
                or MARKER in str(path.relative_to(folder))
            ):
                found.append(path)
    assert seen > 5
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """archive/: radiographs full of markers in texts, file and folder names; three are damaged, one is left out."""
    whole = tmp_path_factory.mktemp("marked")
    inner = whole / "archive" / f"{MARKER}_folder"
    inner.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    first = numbers.integers(0, 4096, (90, 90), dtype=np.uint16)
    content = marked_file(first)
    for number in range(COUNT):
        pixels = numbers.integers(0, 4096, (90, 90), dtype=np.uint16)
        (inner / f"{MARKER}_{number}.dcm").write_bytes(content.replace(first.tobytes(), pixels.tobytes()))
    (inner / f"{MARKER}_cut.dcm").write_bytes(content[:2000])
    (inner / f"{MARKER}_colours.dcm").write_bytes(
        marked_file(first, PhotometricInterpretation="PALETTE COLOR")
    )
    (inner / f"{MARKER}_side.dcm").write_bytes(marked_file(first, ViewPosition="LL"))
    rows = [f"{MARKER}_{number}.dcm,{number % 2},{MARKER}{number}" for number in range(COUNT)]
    (whole / "labels.csv").write_text("\n".join(["source,label,group", *rows, f"{MARKER}_absent.dcm,1,x"]))
    return whole


def test_no_marker_comes_out_of_any_stage(folder, tmp_path, capfd):
    out = tmp_path / "out"
    key = ["--group-key", str(tmp_path / "key")]
    settings = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    ingest = [
        "radiographs",
        str(folder / "archive"),
        "--out",
        str(out / "store"),
        "--anonymous",
        *key,
        "--json",
    ]
    assert call([*ingest, "--labels", str(folder / "labels.csv")]) == 3
    assert (
        call(
            [
                "train",
                str(out / "store"),
                "--out",
                str(out / "run"),
                *settings,
                "--set",
                "train.steps=4",
                "--set",
                "train.warmup.steps=2",
            ]
        )
        == 0
    )
    assert call(["score", str(out / "run"), "--overlays", "worst:2", "--json"]) == 0
    assert call(["evaluate", str(out / "run"), "--json"]) == 0
    assert call(["report", str(out / "run"), "--json"]) == 0
    archive = ["--archive", str(folder / "archive"), *key, "--json"]
    assert call(["dicom", str(out / "run"), *archive, "--out", str(out / "dicom")]) == 0
    assert len(list((out / "dicom" / "dicom").glob("*.dcm"))) > 1
    said = capfd.readouterr()
    assert MARKER not in said.err + said.out
    assert "refused" in said.err
    assert holding_marker(out) == []


def test_what_is_hashed_can_be_found_again_by_the_keys_owner_alone(folder, tmp_path):
    key = tmp_path / "key"
    words = ["--anonymous", "--group-key", str(key), "--labels", str(folder / "labels.csv")]
    assert call(["radiographs", str(folder / "archive"), "--out", str(tmp_path / "store"), *words]) == 3
    store = Store(tmp_path / "store")
    names = read_names(key)
    sources = [names[name] for name in store.manifest["source"]]
    assert all((folder / "archive" / source).is_file() for source in sources)
    assert len(set(sources)) == COUNT
    for name, source, label in zip(store.manifest["source"], sources, store.manifest["label"], strict=True):
        assert name == file_hash(read_key(key), source)
        assert label == int(source.split("_")[-1].split(".")[0]) % 2
    assert stat.S_IMODE(names_file(key).stat().st_mode) == 0o600
    failures = pd.read_csv(tmp_path / "store" / "failures.csv")
    assert {names[name].split("_")[-1] for name in failures["source"]} == {
        "colours.dcm",
        "cut.dcm",
    }
    assert all(
        reason.startswith(f"{name}: ")
        for name, reason in failures[["source", "reason"]].itertuples(index=False)
    )
    before = names_file(key).read_bytes()
    assert call(["radiographs", str(folder / "archive"), "--out", str(tmp_path / "again"), *words]) == 3
    assert names_file(key).read_bytes() == before
    for name in ("manifest.parquet", "shards/00000.npy", "store.json"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (
        call(["radiographs", str(folder / "archive"), "--out", str(tmp_path / "store"), *words[1:]]) == 1
    )  # not mixed


def test_a_new_key_gives_other_hashes_and_goes_on_with_no_store_of_the_old_one(folder, tmp_path, capfd):
    key, old = tmp_path / "now" / "key", tmp_path / "old" / "key"
    words = ["--anonymous", "--group-key", str(key), "--labels", str(folder / "labels.csv")]
    ingest = ["radiographs", str(folder / "archive"), "--out"]
    assert call([*ingest, str(tmp_path / "a"), *words]) == 3
    key.parent.rename(old.parent)
    capfd.readouterr()
    assert call([*ingest, str(tmp_path / "a"), *words]) == 1
    assert "other settings" in capfd.readouterr().err
    assert call([*ingest, str(tmp_path / "b"), *words]) == 3
    first, second = Store(tmp_path / "a").manifest, Store(tmp_path / "b").manifest
    for column in ("source", "group", "item_id"):
        assert not set(first[column]) & set(second[column])
    assert first["group"].nunique() == second["group"].nunique() > 1
    before, after = read_names(old), read_names(key)
    assert {before[name] for name in first["source"]} == {after[name] for name in second["source"]}
    assert not set(before) & set(after)


def test_names_are_kept_in_place_without_anonymous_and_texts_are_still_not(folder, tmp_path, capfd):
    words = ["--group-key", str(tmp_path / "key"), "--out", str(tmp_path / "store")]
    bare = tmp_path / "bare"
    bare.mkdir()
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        (bare / f"{number}.dcm").write_bytes(path.read_bytes())
    assert call(["radiographs", str(bare), *words]) == 3
    said = capfd.readouterr()
    assert MARKER not in said.err + said.out
    assert holding_marker(tmp_path / "store") == []
    assert Store(tmp_path / "store").manifest["source"].str.endswith(".dcm").all()
    assert not names_file(tmp_path / "key").exists()


def slides_archive(folder):
    write_slide(folder / f"{MARKER}_a.tif", stained(512, 0))
    write_slide(folder / f"{MARKER}_b.tif", stained(512, 1))
    (folder / f"{MARKER}_bad.tif").write_bytes(b"II*\0no slide")


def pictures_archive(folder):
    for number in range(3):
        Image.new("L", (16, 16), number).save(folder / f"{MARKER}_{number}.png")
    (folder / f"{MARKER}_bad.png").write_bytes(b"no picture")
    with zipfile.ZipFile(folder / f"{MARKER}.zip", "w") as archive:
        archive.write(folder / f"{MARKER}_1.png", f"{MARKER}_inner.png")


def tables_archive(folder):
    (folder / f"{MARKER}_a.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / f"{MARKER}_bad.csv").write_text("a,b\n1,red\n")


@pytest.mark.parametrize(
    ("stage", "make", "given"),
    [
        ("tile", slides_archive, ["--stain", "none", "--min-tissue", "0.3"]),
        ("images", pictures_archive, []),
        ("tables", tables_archive, []),
    ],
)
def test_the_other_stages_hash_file_names_too(tmp_path, capfd, stage, make, given):
    (tmp_path / "archive").mkdir()
    make(tmp_path / "archive")
    words = [stage, str(tmp_path / "archive"), "--out", str(tmp_path / "out"), *given]
    key = ["--group-key", str(tmp_path / "key")]
    assert call([*words, "--anonymous", *key]) == 3
    said = capfd.readouterr()
    assert MARKER not in said.err + said.out
    assert holding_marker(tmp_path / "out") == []
    hidden = Store(tmp_path / "out")
    assert call([*words[:3], str(tmp_path / "open"), *given]) == 3
    plain = Store(tmp_path / "open")
    names = read_names(tmp_path / "key")
    found = sorted(
        zip([names[name] for name in hidden.manifest["source"]], hidden.read().tolist(), strict=True)
    )
    assert found == sorted(zip(plain.manifest["source"], plain.read().tolist(), strict=True))


def test_an_error_that_ends_a_stage_names_no_file(tmp_path, capfd):
    for number, side in enumerate((16, 20)):
        Image.new("L", (side, side)).save(tmp_path / f"{MARKER}_{number}.png")
    words = ["images", str(tmp_path), "--out", str(tmp_path / "out"), "--anonymous", "--group-key"]
    assert call([*words, str(tmp_path / "key")]) == 1
    said = capfd.readouterr()
    assert "give one size with --size" in said.err
    assert MARKER not in said.err + said.out
