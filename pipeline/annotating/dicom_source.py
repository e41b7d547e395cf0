"""The DICOM instance that a scored slide's level 0 is, as results refer to it, without a word of the file's own.

What is copied is named here: UIDs, sizes and geometry; patient and specimen only where a person asks for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.exporting.secondary_capture import PATIENT
from esad.pipeline.stage.errors import InputError
from esad.preprocessing.slides.series import has_dicom_mark

if TYPE_CHECKING:
    from pydicom import Dataset

SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""VL Whole Slide Microscopy Image Storage (PS3.4, B.5)."""
CORNER = "SLIDE_CORNER"
"""The one place that PositionReferenceIndicator names for slides (PS3.3 C.7.4.1.1.2)."""
SIDES = ("TotalPixelMatrixColumns", "TotalPixelMatrixRows")
UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
KEPT = (
    "SOPClassUID", *UIDS, "Modality", "ImageType", "Rows", "Columns", *SIDES, "ImageOrientationSlide",
    "TotalPixelMatrixOriginSequence", "NumberOfFrames", "DimensionOrganizationType", "SamplesPerPixel",
    "PhotometricInterpretation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
"""What a result needs of its source: numbers, codes of closed sets and UIDs."""
NEEDED = (*UIDS, "ImageOrientationSlide", "TotalPixelMatrixOriginSequence", "SharedFunctionalGroupsSequence")
STUDY = (
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "PatientBirthDate", "PatientSex",
)  # fmt: skip


def slide_header(path: Path, source: str, size: tuple[int, int]) -> Dataset:
    """The header of the file of `path`'s series and folder whose pixel matrix is level 0, of `size` = width, height.

    Raises InputError where `path` is no DICOM slide, no file of its series has that size, or the file lacks what a result needs.
    """
    from pydicom import dcmread
    from pydicom.uid import UID

    from esad.preprocessing.radiographs.dicom import FAULTS, quiet

    if not has_dicom_mark(path):
        raise InputError(
            f"{source}: no DICOM file, so DICOM results have nothing to refer to. Use esad annotations for this slide."
        )
    try:
        with quiet():
            series = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
            found = _level_0(path, str(series.get("SeriesInstanceUID", "")), size)
            header = None if found is None else dcmread(found, stop_before_pixels=True)
            if header is None:
                raise InputError(
                    f"{source}: no file of its series has {size[0]} x {size[1]} pixels, as the scores say. Give the archive that was "
                    "scored."
                )
            lacking = [name for name in NEEDED if name not in header]
            lacking += [name for name in UIDS if name in header and not UID(str(header.get(name))).is_valid]
            if not lacking and "PixelMeasuresSequence" not in header.SharedFunctionalGroupsSequence[0]:
                lacking = ["PixelMeasuresSequence"]
    except FAULTS as error:
        raise InputError(f"{source}: not readable as DICOM ({type(error).__name__}).") from error
    if lacking:
        raise InputError(f"{source}: its DICOM file has no valid {lacking[0]}, which results need.")
    return header


def _level_0(path: Path, series: str, size: tuple[int, int]) -> Path | None:
    """The file of the series with that pixel matrix; None where there is none."""
    from pydicom import dcmread

    from esad.preprocessing.radiographs.dicom import FAULTS

    tags = ["SeriesInstanceUID", "SOPClassUID", "ImageType", *SIDES]
    for each in [path, *sorted(path.parent.iterdir())]:
        if not each.is_file() or not has_dicom_mark(each):
            continue
        try:
            found = dcmread(each, stop_before_pixels=True, specific_tags=tags)
            sides = tuple(int(found.get(name) or 0) for name in SIDES)
            of_series = str(found.get("SeriesInstanceUID", "")) == series
            is_slide = str(found.get("SOPClassUID", "")) == SLIDE_CLASS and "VOLUME" in list(
                found.get("ImageType") or []
            )
        except FAULTS:  # another file of the folder may be damaged
            continue
        if of_series and is_slide and sides == size:
            return each
    return None


def referred(header: Dataset, placeholder: str, with_patient: bool) -> Dataset:
    """What highdicom copies from: KEPT of `header`, its pixel measures, and patient, study and specimen.

    Without `with_patient` the patient is `placeholder`, and so are the names of container and specimen, whose UID stays: it is what
    the results are filed by.
    """
    from pydicom import Dataset

    source = Dataset()
    for name in KEPT:
        if name in header:
            setattr(source, name, header.get(name))
    groups = Dataset()
    groups.PixelMeasuresSequence = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    source.SharedFunctionalGroupsSequence = [groups]
    if header.get("PositionReferenceIndicator") == CORNER:
        source.PositionReferenceIndicator = CORNER
    source.SpecificCharacterSet = "ISO_IR 192"  # names are decoded by now
    for name in STUDY:
        setattr(source, name, header.get(name) or None if with_patient else None)
    source.PatientID, source.PatientName = placeholder, "Anonymous^"
    if with_patient:
        for name in PATIENT.values():
            setattr(source, name, header.get(name) or None)
    _add_specimen(source, header, placeholder, with_patient)
    return source


def _add_specimen(source: Dataset, header: Dataset, placeholder: str, with_patient: bool) -> None:
    """The mandatory part of the Specimen module (PS3.3 C.7.6.22)."""
    from pydicom import Dataset
    from pydicom.uid import UID, generate_uid

    def told(item: Dataset, name: str) -> str:
        return str(item.get(name) or "") if with_patient else ""

    source.ContainerIdentifier = told(header, "ContainerIdentifier") or placeholder
    source.IssuerOfTheContainerIdentifierSequence, source.ContainerTypeCodeSequence = [], []
    specimens = []
    for stated in header.get("SpecimenDescriptionSequence") or [Dataset()]:
        specimen, uid = Dataset(), str(stated.get("SpecimenUID", ""))
        specimen.SpecimenIdentifier = told(stated, "SpecimenIdentifier") or placeholder
        specimen.SpecimenUID = (
            uid if UID(uid).is_valid else generate_uid(entropy_srcs=["esad specimen", placeholder])
        )
        specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
        specimens.append(specimen)
    source.SpecimenDescriptionSequence = specimens
