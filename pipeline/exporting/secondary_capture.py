"""One overlay as a DICOM Secondary Capture (PS3.3 A.8.1) that refers to the radiograph which it explains."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from highdicom.sc import SCImage
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from esad.pipeline.scoring.scores import above_normals

SERIES_NUMBER = 900
SERIES_DESCRIPTION = "ESAD anomaly overlay, no diagnosis"
PANELS = "Panels from left: input, reconstruction, contribution to the score, reconstruction error."
PATIENT = {
    "patient_id": "PatientID", "patient_name": "PatientName", "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex", "accession_number": "AccessionNumber", "study_id": "StudyID", "study_date": "StudyDate",
    "study_time": "StudyTime", "referring_physician_name": "ReferringPhysicianName",
}  # fmt: skip
"""What `with_patient` copies, and nothing else of the patient."""


@dataclass(frozen=True)
class Overlay:
    """A heat strip uint8 (H, W, 3) and what is said of it; `patient` is a placeholder that tells nobody's name."""

    pixels: np.ndarray
    item_id: str
    patient: str
    score: float
    percentile: float
    number: int
    """Of the picture within its series."""
    held_out: bool | None
    """Whether the percentile is among normals held out of training, or among those that trained; None where the scores do not say."""

    @property
    def words(self) -> str:
        """What the picture's comment says."""
        whose = {True: "held-out ", False: "training ", None: ""}[self.held_out]
        share = above_normals(self.percentile, f"{whose}normal radiographs")
        return f"Anomaly score {self.score:.5g}, {share}. {PANELS} Research use, no diagnosis."


def study_of(source: Dataset | None, item_id: str) -> str:
    """The study that the overlay of an item joins: its source's, or one of its own where that has none."""
    stated = str(source.get("StudyInstanceUID", "")) if source is not None else ""
    return stated if UID(stated).is_valid else generate_uid(entropy_srcs=["esad study", item_id])


def secondary_capture(overlay: Overlay, source: Dataset | None, model: str, with_patient: bool) -> SCImage:
    """The overlay as a dataset: explicit VR little endian, RGB, its UIDs decided by `model` (a digest) and source.

    `source` is the header of the radiograph, or None where it is no DICOM: then nothing is referred to, and the study is a
    new one. Patient and study attributes are copied `with_patient` alone; otherwise the placeholder stands in their place
    and PatientIdentityRemoved is YES. UIDs of the source are copied in either case, since the reference is made of them.
    Raises what pydicom raises for attributes that the standard does not allow.
    """
    study = study_of(source, overlay.item_id)
    known: dict[str, Any] = {"patient_id": overlay.patient, "patient_name": "Anonymous^"}
    if with_patient and source is not None:
        known = {name: source.get(keyword) or None for name, keyword in PATIENT.items()}
    image = SCImage(
        pixel_array=overlay.pixels, photometric_interpretation="RGB", bits_allocated=8, coordinate_system="PATIENT",
        patient_orientation=("L", "F"), study_instance_uid=study,
        series_instance_uid=generate_uid(entropy_srcs=["esad series", model, study]), series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(entropy_srcs=["esad overlay", model, study, overlay.item_id]),
        instance_number=overlay.number, manufacturer="esad", manufacturer_model_name="esad",
        software_versions=version("esad"), device_serial_number=model, series_description=SERIES_DESCRIPTION,
        transfer_syntax_uid=ExplicitVRLittleEndian, **known,
    )  # fmt: skip
    image.SpecificCharacterSet = "ISO_IR 192"  # names are decoded by now
    image["PatientOrientation"].value = None  # four panels of what the source shows, which may not say
    image.ImageComments = overlay.words
    image.DerivationDescription = f"esad {version('esad')}: heat overlay of model {model}"
    image.BurnedInAnnotation = "NO"
    if not (with_patient and source is not None):
        image.PatientIdentityRemoved = "YES"
        image.DeidentificationMethod = "No patient attribute copied"
    if source is not None:
        _refer(image, source)
    return image


def _refer(image: Dataset, source: Dataset) -> None:
    """Add references to the source image (PS3.3 C.7.6.1, C.12.2) and what of it holds for any derived one."""
    for keyword in ("LossyImageCompression", "BurnedInAnnotation"):
        if str(source.get(keyword, "")) in ("01", "YES"):
            setattr(image, keyword, source.get(keyword))
    uids = {
        name: UID(str(source.get(name, "")))
        for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
    }
    if not all(uid.is_valid for uid in (uids["SOPClassUID"], uids["SOPInstanceUID"])):
        return
    purpose = Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code[:3]
    reference = _reference(uids)
    reference.PurposeOfReferenceCodeSequence = [purpose]
    image.SourceImageSequence = [reference]
    if uids["SeriesInstanceUID"].is_valid and UID(str(source.get("StudyInstanceUID", ""))).is_valid:
        series = Dataset()
        series.SeriesInstanceUID = uids["SeriesInstanceUID"]
        series.ReferencedInstanceSequence = [_reference(uids)]
        image.ReferencedSeriesSequence = [series]


def _reference(uids: dict[str, UID]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = uids["SOPClassUID"], uids["SOPInstanceUID"]
    return item
