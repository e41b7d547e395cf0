"""Which pixels or columns a score comes from: by gradients, by a forest's paths, by permutations."""
