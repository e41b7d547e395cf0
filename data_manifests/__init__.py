"""What each data set is: one YAML per data set, and the loader of these files."""
