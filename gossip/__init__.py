"""The protocol and its arithmetic. No input or output, no clock, no global random state."""
