"""Which values a setting may have, as types for the fields of configs: every other value is refused before training.

A config may make more of them with `annotated_types`; one of several choices is a `typing.Literal`.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MinLen

Count = Annotated[int, Ge(1)]
"""A whole number from 1."""
Steps = Annotated[int, Ge(0)]
"""A whole number from 0."""
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
"""From nothing, 0, to all, 1."""
Part = Annotated[float, Ge(0), Lt(1)]
"""A share that leaves something over."""
Rate = Annotated[float, Gt(0), Le(1)]
"""Share of the way to a target that is gone at every step: 1 jumps there."""
Sizes = Annotated[tuple[Count, ...], MinLen(1)]
"""Units of one layer after another, one layer at least."""
