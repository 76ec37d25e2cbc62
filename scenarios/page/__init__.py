"""The page that shows a run: as a file (`tidings report`) and live (`tidings watch`)."""
