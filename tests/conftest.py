"""Set-up of every test: one thread for each process, repeatable properties."""

from __future__ import annotations

import os

# Before numpy or torch is imported: they read these once. The workers use the cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from hypothesis import settings  # noqa: E402 (after the variables above)

# A shared machine is slow at times, so no deadline. In CI the examples are the same each
# time; on a developer's machine they vary, and a failure prints the blob that repeats it.
settings.register_profile("developer", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")
