"""The ray engine's costs against those of the array engine in one process: the same bits, dearer.

    python benchmarks/ray_engine.py [--nodes N] [--rounds R] [--actors A] [--json]

An MLP 64-64-10 on digits, 5 local steps of 32 records, QG momentum, int8, 4-regular graph, no
privacy, models not tested. CPU time of a round of all that takes part: this process and the actors. Starting and the
first round are left out. The actors are on RAY_ADDRESS, or on this machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from tidings.scenarios.engines.array.engine import ArrayRun
from tidings.scenarios.engines.array.start import crew_of, graph_of, tape_of, workers_of
from tidings.scenarios.engines.array.table_chronicle import TableChronicle
from tidings.scenarios.scenario import Scenario, load_scenario
from tidings.scenarios.world import World

LEARNER = 'learner={kind="numpy-mlp"}'
