"""What the configurations of an exported MONAI bundle name as `_target_`: pictures, items, trainer. No command uses it."""
