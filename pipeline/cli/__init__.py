"""The command line over the stages. Nothing below imports it."""
