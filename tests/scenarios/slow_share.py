"""A peer's data set, and with it a learner that takes its time until a file says "hurry".

Named in a peer's configuration like any user's own data set. A network of such peers goes slowly
enough to be watched, and does not keep the processors busy meanwhile.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tidings.peer.learners.data import Dataset, npz
from tidings.peer.learners.softmax import SoftmaxLearner


def share(path: str) -> Dataset:
    """The records in a file, for a learner that sleeps SLOW_S seconds a round."""
    quick, hurry = SoftmaxLearner.train, Path(os.environ["HURRY_FILE"])

    def slow(self: SoftmaxLearner, *arguments: Any, **more: Any) -> Any:
        if not hurry.exists():
            time.sleep(float(os.environ["SLOW_S"]))
        return quick(self, *arguments, **more)

    SoftmaxLearner.train = slow  # type: ignore[method-assign]
    return npz(path)
