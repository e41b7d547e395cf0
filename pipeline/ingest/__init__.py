"""What the four ingest stages share: inputs, units of work, workers, cluster, private names. No pixels are looked at here."""
