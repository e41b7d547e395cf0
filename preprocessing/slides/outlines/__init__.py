"""Outlines of lesions: the files of six programs in, areas in level-0 pixels and shares of tiles out; no slide is opened here."""
