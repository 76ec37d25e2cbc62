"""Scenario files that come with the package."""
