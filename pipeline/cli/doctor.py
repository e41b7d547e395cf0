"""`esad doctor`: what is installed here and what it can read, for a person with a question and for bug reports."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from esad.pipeline.ingest.request import cores
from esad.pipeline.stage.command import print_json
from esad.pipeline.stage.options import Json
from esad.pipeline.stage.outcome import Outcome

OPTIONAL = {"staintools": "staintools", "onnx": "export", "onnxruntime": "export", "mlflow-skinny": "mlflow"}
"""Package -> the extra that installs it."""
TIFF_COMPRESSIONS = {
    "JPEG": "JPEG", "JPEG 2000": "JPEG2K", "LZW": "LZW", "Deflate": "ZLIB", "PackBits": "PACKBITS", "Zstandard": "ZSTD",
    "WebP": "WEBP", "JPEG XL": "JPEGXL",
}  # fmt: skip
"""Name -> the codec of imagecodecs."""
LEAST_FREE = 2 * 2**30
"""Bytes of temporary space below which a stage may stop for want of it."""


def command(as_json: Json = False) -> Outcome:
    """What is installed here and what it can read: paste it into a bug report."""
    outcome = doctor()
    if as_json:
        print_json({"status": int(outcome.exit_status), **outcome.summary})
    else:
        sys.stdout.write(outcome.message + "\n")  # what was asked for, to be kept in a file
    return outcome


def doctor() -> Outcome:
    """Look at packages, device, codecs and temporary space; the outcome has failed where a needed thing is missing."""
    found: dict[str, Any] = {
        "system": {"platform": platform.platform(), "python": sys.version.split()[0], "cores": cores()},
        "packages": {name: _version(name) for name in _needed()},
        "optional": {name: _version(name) for name in OPTIONAL},
        "torch": _torch(),
        "openslide": _openslide(),
        "dicom": _dicom_syntaxes(),
        "tiff": _tiff_compressions(),
        "temporary_space": _temporary_space(),
    }
    problems = _problems(found)
    found["problems"] = problems
    lines = [
        f"{name}: {told}" for name, content in found.items() if name != "problems" for told in _told(content)
    ]
    lines += [f"problem: {problem}" for problem in problems] or ["No problem found."]
    return Outcome(Path(tempfile.gettempdir()), "\n".join(lines), summary=found, failed=bool(problems))


def _told(content: dict[str, Any]) -> list[str]:
    return [f"{name} {value if value is not None else 'not installed'}" for name, value in content.items()]


def _needed() -> list[str]:
    """esad and the packages that it cannot do without, as its own metadata names them."""
    stated = [text for text in requires("esad") or [] if "extra ==" not in text]
    return ["esad", *sorted({re.split(r"[^A-Za-z0-9._-]", text)[0] for text in stated}, key=str.lower)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch() -> dict[str, Any]:
    """Threads, and each CUDA device with its memory in GiB."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a library that it needs may be missing
        return {"fault": str(error)}
    devices = [
        f"{torch.cuda.get_device_name(n)}, {torch.cuda.get_device_properties(n).total_memory / 2**30:.0f} GiB"
        for n in range(torch.cuda.device_count())
    ]
    return {
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda or "none",
        "devices": devices or "cpu only",
    }


def _openslide() -> dict[str, Any]:
    try:
        import openslide
    except (ImportError, OSError) as error:
        return {"fault": str(error)}
    return {"library": openslide.__library_version__}


def _dicom_syntaxes() -> dict[str, str]:
    """Transfer syntax -> the plugins that decode its pixels, or none."""
    from pydicom.pixels.decoders import base
    from pydicom.uid import UID, AllTransferSyntaxes

    found = {}
    for syntax in AllTransferSyntaxes:
        uid = UID(syntax)
        if not uid.is_compressed or uid.is_deflated:
            found[uid.name] = "built in"
            continue
        try:
            plugins = base.get_decoder(uid).available_plugins
        except NotImplementedError:  # video and what pydicom decodes by no plugin at all
            continue
        found[uid.name] = ", ".join(plugins) or "none"
    return found


def _tiff_compressions() -> dict[str, str]:
    """Compression of a TIFF's tiles -> whether imagecodecs decodes it (what OpenSlide opens it decodes itself)."""
    try:
        import imagecodecs
    except ImportError as error:
        return {"fault": str(error)}
    return {
        name: "yes" if getattr(imagecodecs, codec).available else "no"
        for name, codec in TIFF_COMPRESSIONS.items()
    }


def _temporary_space() -> dict[str, Any]:
    """The folder of temporary files, whether it can be written, and its free bytes."""
    place = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"esad")
        writable = True
    except OSError:
        writable = False
    free = os.statvfs(place)
    return {"folder": place, "writable": writable, "free_bytes": free.f_bavail * free.f_frsize}


def _problems(found: dict[str, Any]) -> list[str]:
    """What will stop a stage, and what to do."""
    problems = [
        f"{name} is not installed: pip install esad installs it."
        for name, installed in found["packages"].items()
        if installed is None
    ]
    problems += [
        f"{name} cannot be loaded: {found[name]['fault']}"
        for name in ("torch", "openslide")
        if "fault" in found[name]
    ]
    problems += [
        f"no decoder for DICOM {name}" for name, plugins in found["dicom"].items() if plugins == "none"
    ]
    space = found["temporary_space"]
    if not space["writable"]:
        problems.append(f"{space['folder']} cannot be written: set TMPDIR to a folder that can.")
    elif space["free_bytes"] < LEAST_FREE:
        free = space["free_bytes"] / 2**30
        problems.append(f"{space['folder']} has only {free:.1f} GiB free: clear it, or set TMPDIR elsewhere.")
    return problems
