"""Training and testing many small models at once, on one core."""
