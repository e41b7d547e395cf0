"""DICOM files held to the standard: to the tables of PS3.3 that highdicom ships, and to dicom-validator's copy of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom
import pytest
from pydicom import Dataset


def attributes_of(iod: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(module, attribute) of all modules of an IOD, by its name in highdicom's tables."""
    tables = Path(highdicom.__file__).parent / "_standard"
    modules = json.loads((tables / "iod_module_map.json").read_text())[iod]
    attributes = json.loads((tables / "module_attribute_map.json").read_text())
    for module in modules:
        for attribute in attributes[module["key"]]:
            yield module, attribute


def check_attributes(image: Dataset, iod: str) -> None:
    """Mandatory modules are whole, and nothing is of a foreign module."""
    known = set()
    for module, attribute in attributes_of(iod):
        keyword, kind = attribute["keyword"], attribute["type"]
        known.add(keyword)
        if module["usage"] == "M" and not attribute["path"] and kind in ("1", "2"):
            assert keyword in image, (module["key"], keyword)
            assert kind == "2" or image[keyword].VM > 0, (module["key"], keyword)
    assert {element.keyword for element in image if not element.tag.is_private} - known == set()


def check_by_validator(folder: Path) -> None:
    """dicom-validator finds no error in the files of `folder`; skips where its copy of the standard is not at hand."""
    standard = os.environ.get("ESAD_DICOM_STANDARD")
    if not standard or not Path(standard).is_dir():
        pytest.skip(
            "dicom-validator needs its copy of the standard: set ESAD_DICOM_STANDARD to its --standard-path"
        )
    program = str(Path(sys.executable).with_name("validate_iods"))
    command = [program, "--standard-path", standard, "--edition", "local", str(folder)]
    end = subprocess.run(command, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stdout + end.stderr  # the number of errors
