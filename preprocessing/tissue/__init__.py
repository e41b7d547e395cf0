"""Where a slide has tissue: glass, ink, mask. Pure functions of a thumbnail."""
