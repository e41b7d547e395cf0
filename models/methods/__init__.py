"""The methods that are learnt in steps, one file each, and the registry of all. Their shared parts are in models."""
