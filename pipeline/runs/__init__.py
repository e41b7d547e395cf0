"""A RUN folder, opened, and the items of its store: what training writes and scoring reads."""
