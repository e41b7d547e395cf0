"""The methods paragraph of a run, from its own files, and the works that it cites."""
