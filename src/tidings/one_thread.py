"""Imported before NumPy, keeps linear algebra to one thread, unless the user has said otherwise.

Models are small and peers many. A second thread would wait for its turn most of the time, at the
price of a core, and split sums in another place: a run would have other bits on other machines.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
