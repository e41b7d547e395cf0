"""Tensors in, tensors out: networks, ESAD and the methods it is compared with. No command line, no files."""
