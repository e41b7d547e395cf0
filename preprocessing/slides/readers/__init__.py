"""The second way into a slide file, where OpenSlide has none: TIFF and OME-TIFF by tifffile, and which reader is taken."""
