"""Pure figures: scores, labels and groups in, numbers and their intervals out."""
