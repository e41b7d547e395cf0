"""Settings of the stages and their presets: names, defaults, limits. Settings of networks are in models/settings.py."""
