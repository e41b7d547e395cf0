"""Scored slides as files that other viewers open: QuPath, ASAP, OME-TIFF, OpenSlide, DICOM. How tiles are scored is not in here."""
