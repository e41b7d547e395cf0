"""From the scores of tiles to slides: maps, figures of a slide, candidates of lesions."""
