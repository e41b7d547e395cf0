"""Made-up slides and radiographs with planted anomalies, and a real table. Nothing here reads an archive."""
