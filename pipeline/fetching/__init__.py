"""Published data sets brought to a folder: downloads that go on where they were, and are what their publisher says."""
