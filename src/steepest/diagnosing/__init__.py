"""Minutes before hours: whether a search is worth its cost, measured with a few prompts on some dev rows."""
