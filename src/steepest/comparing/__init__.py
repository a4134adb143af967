"""Many runs, one table: methods compared under one budget, prompts carried to other models."""
