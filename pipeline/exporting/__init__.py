"""The model and its results for other programs: MONAI Bundle, ONNX, DICOM, model card."""
