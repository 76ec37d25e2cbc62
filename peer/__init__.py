"""One running node: configuration, learners, transports, storage, event log."""
