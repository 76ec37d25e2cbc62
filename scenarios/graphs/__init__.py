"""What `tidings topology` shows of a graph: facts, tables and pictures."""
