"""What trains a method: batches, the one step, schedules, keyed randomness, several processes. No files, no methods."""
