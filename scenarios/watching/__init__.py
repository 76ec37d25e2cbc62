"""Looking at a run or a peer while it runs: in a browser, or in a terminal."""
