"""Which way a radiograph was taken, by what its DICOM file says. Pure.

In this order, the first that tells a view counts:

    1. ViewPosition (0018,5101), by its words
    2. ViewCodeSequence (0054,0220), by the codes of PS3.16 CID 4010
    3. SeriesDescription (0008,103E) and ProtocolName (0018,1030), by their words
    4. PatientOrientation (0020,0020): rows that run forwards or backwards through the body are those of a lateral

A text tells a view where exactly one view is among its words ("AP SUPINE" is AP, "PA and LAT" tells nothing, "PAEDIATRIC"
is not PA), in any case and with or without accents. Two initials count as their word ("p.-a.", "P/A", "p. a."), more of them as
none ("S.p.A.", "P-A/A-P"); the number of a picture ("PA1") counts for nothing. Decubitus and oblique pictures are neither frontal
nor lateral, whatever words stand beside.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

FRONTAL = ("PA", "AP")
WORDS = {
    "PA": "PA", "POSTEROANTERIOR": "PA", "AP": "AP", "ANTEROPOSTERIOR": "AP",
    "SEITLICH": "lateral", "SEITL": "lateral", "PROFIL": "lateral", "PERFIL": "lateral", "LATERALE": "lateral",
    "LL": "lateral", "RL": "lateral", "LAT": "lateral", "LATERAL": "lateral", "LLAT": "lateral", "RLAT": "lateral",
    "LLD": "decubitus", "RLD": "decubitus", "DECUBITUS": "decubitus", "DECUB": "decubitus",
    "LLO": "oblique", "RLO": "oblique", "LAO": "oblique", "RAO": "oblique", "LPO": "oblique", "RPO": "oblique",
    "OBL": "oblique", "OBLIQUE": "oblique",
}  # fmt: skip
"""Defined terms of ViewPosition (PS3.3 C.8.1.2.1) and what technicians write."""

DASH = r"\-\u2010-\u2015"
INITIALS = re.compile(rf"(?<![^\W_])(?<![^\W_]/)[A-Z](?:\s*[./{DASH}][\s./{DASH}]*[A-Z](?![^\W_]))+")
"""Single letters with dots, hyphens or slashes between them, all that stand in a row; not the parts of `CHEST/A/P`."""
SIDES = re.compile(
    rf"(ANTER|POSTER)(?:O[^A-Z]*|(?:IOR|IEUR)[\s{DASH}]+)(ANTER|POSTER)I(?:ORE?|EURE?)(?![A-Z])"
)
"""`antero-posterior`, `posterior-anterior`, and as French and Italian write them; of `anterior, posterior` both are meant."""
NUMBERED = re.compile(r"^(PA|AP)[1-9]$")

VIEW_UNKNOWN = "state a view in words that are not understood"
OTHER_PART = "state a body part other than the chest"
CONTRADICTS = "state a presentation against their photometric interpretation"
OTHER_PARTS = frozenset({
    "ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD",
    "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "MANDIBLE", "NECK", "PATELLA", "PELVIS", "SHOULDER", "SKULL", "SPINE", "SSPINE",
    "TIBIA", "TOE", "THUMB", "WRIST", "ZYGOMA",
})  # fmt: skip
"""Words of Body Part Examined (PS3.16 annex L) for what is no chest."""
CHEST_WORDS = frozenset({"CHEST", "THORAX", "TORAX", "LUNG", "LUNGS", "RIB", "RIBS", "TSPINE"})


def stated_view(dataset: Dataset) -> str | None:
    """PA, AP, lateral, oblique, decubitus, or None where the file does not tell."""
    series = f"{dataset.get('SeriesDescription') or ''} | {dataset.get('ProtocolName') or ''}"
    own = view_in_text(str(dataset.get("ViewPosition") or ""))
    return own or _view_by_code(dataset) or view_in_text(series) or _view_by_orientation(dataset)


def _view_by_orientation(dataset: Dataset) -> str | None:
    stated = dataset.get("PatientOrientation") or []
    row = str(stated[0]).strip().upper() if not isinstance(stated, str) and len(stated) == 2 else ""
    return "lateral" if ("A" in row[:1]) != ("P" in row[:1]) and not {"A", "P"} <= set(row) else None


def doubts_of(dataset: Dataset) -> tuple[str, ...]:
    """Notes on what the file says and a person may not expect; none holds the file's own words."""
    part = set(re.split(r"[^A-Z]+", str(dataset.get("BodyPartExamined") or "").upper()))
    words = set(_words(str(dataset.get("ViewPosition") or ""))) - {""}
    unknown = words and stated_view(dataset) is None
    thoracic = "SPINE" in part and part & {"T", "THORACIC"}
    other = part & OTHER_PARTS and not part & CHEST_WORDS and not thoracic
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()  # PS3.3 C.8.11.3.1.2
    expected = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}.get(
        str(dataset.get("PhotometricInterpretation"))
    )
    contradicts = shape in {"INVERSE", "IDENTITY"} and expected is not None and shape != expected
    found = ((VIEW_UNKNOWN, unknown), (OTHER_PART, other), (CONTRADICTS, contradicts))
    return tuple(note for note, holds in found if holds)


def view_in_text(text: str) -> str | None:
    """The one view among the words of `text`, or None."""
    found = {WORDS[word] for word in _words(text) if word in WORDS}
    for view in ("decubitus", "oblique"):
        if view in found:
            return view
    return found.pop() if len(found) == 1 else None


def _words(text: str) -> list[str]:
    """In upper case without accents; `p.-a.`, `antero-posterior` and `PA1` as one word each."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    upper = INITIALS.sub(_joined, plain.upper()).replace(".", "")
    upper = SIDES.sub(lambda found: f"{found[1]}O{found[2]}IOR", upper)
    return [NUMBERED.sub(r"\1", word) for word in re.split(r"[^A-Z0-9]+", upper)]


def _joined(found: re.Match[str]) -> str:
    """`P.-A.` as PA; as it stands where its initials are of something else, or more than two."""
    word = re.sub(r"[^A-Z]", "", found[0])
    return word if word in FRONTAL else found[0]


@cache
def _coded_views() -> list[tuple[Code, str]]:
    """The concepts of CID 4010 that tell a view."""
    known = [
        (codes.cid4010.PosteroAnterior, "PA"),
        (Code("R-10214", "SRT", ""), "PA"),  # of the standard's older editions, which pydicom maps no longer
        (codes.cid4010.AnteroPosterior, "AP"),
    ]
    for name in codes.cid4010.dir():
        view = "oblique" if "Oblique" in name else "lateral" if "Lateral" in name else None
        if view:
            known.append((getattr(codes.cid4010, name), view))
    return known


def _view_by_code(dataset: Dataset) -> str | None:
    for item in dataset.get("ViewCodeSequence") or []:
        stated = Code(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")), "")
        for code, view in _coded_views():
            if stated == code:
                return view
    return None
