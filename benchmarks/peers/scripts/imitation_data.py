"""The suite's demonstrations as the imitation package wants them."""

from __future__ import annotations

import numpy as np
from imitation.data.types import Transitions


def transitions(data):
    """From the arrays of `kit.demonstrations.Demonstrations`, by name."""
    return Transitions(
        obs=data["observations"],
        acts=data["actions"],
        next_obs=data["next_observations"],
        dones=data["terminated"],
        infos=np.array([{}] * len(data["actions"])),
    )
