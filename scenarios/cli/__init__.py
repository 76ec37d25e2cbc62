"""The commands that run and inspect scenarios, a file for each verb."""
