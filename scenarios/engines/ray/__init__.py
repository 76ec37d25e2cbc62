"""The `ray` engine: the rows of the array engine, shared out over the machines of a Ray cluster.

division.py  which shard has which rows, and what the shards need of one another in a wave
shard.py     some of the rows, and the work on them; knows nothing of Ray
actors.py    shards as Ray actors: calls, snapshots, and what is done when one is lost
crew.py      the crew of the array engine that leads the shards
cluster.py   to find the cluster, or to start one on this machine
"""
