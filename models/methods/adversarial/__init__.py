"""Methods trained by adversaries: generators and what judges them. One file a method; `dcgan.py` has their networks."""
