"""Labels, groups, ratios to train, validation and test parts. Pure functions of tables, and the published lists."""
