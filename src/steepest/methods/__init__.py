"""The methods, one paper each."""
