"""A slide to tiles in a store: plan, stain, cutting. Reading and geometry are in preprocessing/slides."""
