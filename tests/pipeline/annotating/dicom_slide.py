"""A DICOM whole-slide image of two levels with a patient and a specimen, as a scanner writes it (PS3.3, A.32.8)."""

from __future__ import annotations

import io

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
FRAME = 128
MPP = 0.25
ORIGIN = (12.5, 31.0)
"""Millimetres on the glass."""
ORIENTATION = [0, -1, 0, -1, 0, 0]
"""As scanners lay slides: rows run towards smaller y, columns towards smaller x."""


def item(**values):
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def uid(*words):
    return generate_uid(entropy_srcs=["test", *words])


def write_dicom_slide(folder, name, size, patient="Jäger^Anna"):
    """FOLDER/NAME.dcm is a level half as wide, FOLDER/NAME-0.dcm level 0 of `size`: OpenSlide and our stages take either for the slide."""
    for number, ending in ((0, "-0"), (1, "")):
        columns, rows = (max(1, side >> number) for side in size)
        across, down = (-(-side // FRAME) for side in (columns, rows))
        jpeg = io.BytesIO()
        Image.fromarray(np.full((FRAME, FRAME, 3), 150, np.uint8)).save(jpeg, "JPEG")
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SLIDE_CLASS, uid(name, str(number))
        meta.TransferSyntaxUID = JPEGBaseline8Bit
        spacing = [MPP / 1000 * size[1] / rows, MPP / 1000 * size[0] / columns]
        half = (2**number - 1) / 2 * MPP / 1000
        header = item(
            SpecificCharacterSet="ISO_IR 100", SOPClassUID=SLIDE_CLASS, SOPInstanceUID=uid(name, str(number)),
            SeriesInstanceUID=uid(name, "series"), StudyInstanceUID=uid(name, "study"), FrameOfReferenceUID=uid(name, "frame"),
            PositionReferenceIndicator="SLIDE_CORNER", Modality="SM", ImageType=["DERIVED", "PRIMARY", "VOLUME", "NONE"],
            PatientName=patient, PatientID="ID-4711", PatientBirthDate="19600102", PatientSex="F", AccessionNumber="A77",
            StudyID="S1", StudyDate="20200304", StudyTime="101112", ReferringPhysicianName="Arzt^A", Manufacturer="Maker",
            InstitutionName="Klinik Nord", DeviceSerialNumber="SN99", ManufacturerModelName="M", SoftwareVersions="1",
            DimensionOrganizationType="TILED_FULL", NumberOfFrames=across * down, Rows=FRAME, Columns=FRAME,
            TotalPixelMatrixRows=rows, TotalPixelMatrixColumns=columns, TotalPixelMatrixFocalPlanes=1, NumberOfOpticalPaths=1,
            ImageOrientationSlide=ORIENTATION, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0,
            BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, LossyImageCompression="01",
            LossyImageCompressionRatio=20, LossyImageCompressionMethod="ISO_10918_1",
            TotalPixelMatrixOriginSequence=[
                item(XOffsetInSlideCoordinateSystem=ORIGIN[0] - half, YOffsetInSlideCoordinateSystem=ORIGIN[1] - half)
            ],
            SharedFunctionalGroupsSequence=[
                item(PixelMeasuresSequence=[item(PixelSpacing=[round(each, 12) for each in spacing], SliceThickness=0.001)])
            ],
            ContainerIdentifier="GLASS-12", IssuerOfTheContainerIdentifierSequence=[], ContainerTypeCodeSequence=[],
            SpecimenDescriptionSequence=[
                item(
                    SpecimenIdentifier="S20-4711-A", SpecimenUID=uid(name, "specimen"), IssuerOfTheSpecimenIdentifierSequence=[],
                    SpecimenShortDescription="Skin of Anna", SpecimenPreparationSequence=[],
                )
            ],
        )  # fmt: skip
        header.PixelData = encapsulate([jpeg.getvalue()] * (across * down))
        header.file_meta = meta
        pydicom.dcmwrite(folder / f"{name}{ending}.dcm", header, enforce_file_format=True)
