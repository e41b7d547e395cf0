"""Semi-supervised anomaly detection on slides, radiographs, images and tables."""
