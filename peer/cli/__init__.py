"""The commands that work on one peer or one network, a file for each verb."""
