"""A workflow file's steps, checked and in order, and the demo. The stages themselves are scripts above."""
