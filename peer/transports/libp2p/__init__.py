"""Links over libp2p."""
