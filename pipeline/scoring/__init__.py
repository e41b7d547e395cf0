"""A run and a store to scores, overlays and slide maps. Figures that need labels are in evaluation."""
