"""What the documentation says: its commands, settings, links and examples."""
