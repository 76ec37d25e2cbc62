"""The families of graphs, a file each: pure functions from a rule to the links of every round.

Every member of a network computes the same graph, whatever its machine and its libraries: there is
no chance in here but the raw stream of PCG64, which NumPy keeps the same across releases.
"""
