"""Methods that look at pictures through a network trained on ImageNet. One file a method; `backbone.py` has that network."""
