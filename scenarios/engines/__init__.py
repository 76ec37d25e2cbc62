"""What carries a scenario out: real transports (`live`) or a virtual clock (`sim`)."""
