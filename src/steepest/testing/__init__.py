"""Test doubles and the tests that every method and model must pass, for use outside the package too."""
