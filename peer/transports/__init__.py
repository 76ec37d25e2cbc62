"""How frames travel: libp2p and memory, behind one protocol."""
