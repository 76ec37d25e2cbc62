"""What trains on a peer's own data: the learner protocol and its adapters."""
