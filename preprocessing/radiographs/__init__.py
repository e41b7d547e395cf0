"""PNG and DICOM radiographs to small grey squares, with view and patient. No text of a file is kept."""
