"""SQIL: constant rewards by whose transition it is."""

import torch

from baselines import sqil
from benchmarks.kit.replay import Batch


def test_demonstrated_rows_are_paid_and_no_others():
    nothing = torch.full((2, 6), torch.nan)
    column = sqil.rewards(Batch(nothing, nothing, nothing, nothing, nothing), 2, sqil.SQILConfig())
    assert column.tolist() == [[1, 1, 0, 0, 0, 0]] * 2
