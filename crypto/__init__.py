"""What may leave a peer and what may enter it: keys, envelopes, membership, privacy."""
