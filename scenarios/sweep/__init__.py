"""Sweeps: one scenario with many settings and seeds, run over all cores, resumed where it ended.

SWEEP/sweep.toml        the sweep as it was asked for
SWEEP/base.toml         the scenario that its points start from
SWEEP/runs/ID/          one run: its scenario, its event logs, and result.json once it is over
SWEEP/runs.csv          a row for each point, seed and arm; and runs.parquet
SWEEP/rounds.csv        a row for each round of those; and rounds.parquet
SWEEP/*.png             the pictures, with error bars over the seeds
"""
