"""The `array` engine: the protocol's arithmetic on N x P arrays, all nodes at once.

tape.py      who publishes and mixes when, and with which copies: it depends on times alone
graph.py     who hears whom, and with what weight, as arrays
arrays.py    what all nodes hold: models, public copies, momentum
workers.py   training and testing of many models
rounds.py    train and publish: a wave of the tape, for many rows at once
mixing.py    mix: the same wave, for many rows in some columns at a time
averaging.py sums and meetings instead of public copies (meetings.py: who meets whom)
chronicle.py the event log, as the simulator would write it
engine.py    a run from its first wave to its last
"""
