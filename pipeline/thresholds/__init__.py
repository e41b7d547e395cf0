"""What a score means: conformal p-values, thresholds with a promised false-alarm rate, and whether the promise holds."""
