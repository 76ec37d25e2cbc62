"""The gossip rules: how what a peer learnt becomes what it publishes, and what mixing does to it.

One file a rule; each is pure arithmetic on float32 vectors with free leading axes, one peer's or
those of a whole network, to the same bits. ``base.py`` has their common form.
"""
