"""A network on one machine: what [faults] says happens to real packets of real peers."""
