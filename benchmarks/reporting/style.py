"""How methods look and in which order they stand, the same in every table and figure."""

from __future__ import annotations

import colorsys
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, groupby, product
from typing import Any

import matplotlib
import numpy as np

# Okabe and Ito's palette, safe for colour-blind readers; its yellow is left out, too faint for a line on white
_BLACK, _ORANGE, _SKY, _GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
_BLUE, _VERMILLION, _PURPLE, _GREY = "#0072B2", "#D55E00", "#CC79A7", "#767676"

Dash = tuple[float, ...]
_SOLID: Dash = ()
_DASHED: Dash = (5, 2)
_DOTTED: Dash = (1, 1.5)
_DASH_DOT: Dash = (6, 1.5, 1.5, 1.5)
_LONG: Dash = (9, 2)
_DASH_DOT_DOT: Dash = (6, 1.5, 1.5, 1.5, 1.5, 1.5)


@dataclass(frozen=True)
class Look:
    """Colour, marker and dash of one method; dash and marker alone tell methods apart in grey."""

    color: str
    marker: str
    dash: Dash = _SOLID

    @property
    def on_dark(self) -> str:
        """The colour on a dark ground: the same hue, light enough to be seen."""
        hue, lightness, saturation = colorsys.rgb_to_hls(*(int(self.color[n : n + 2], 16) / 255 for n in (1, 3, 5)))
        light = 1 - lightness if saturation == 0 and lightness < 0.3 else max(lightness, 0.62)
        return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, light, saturation))

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of matplotlib's `plot` for a line."""
        return {"color": self.color, "linestyle": (0, self.dash) if self.dash else "-"}


_LOOKS = {
    "random": Look(_GREY, ".", _DOTTED),
    "bc": Look(_GREEN, "s", _LONG),
    "red": Look(_PURPLE, "v", _DASH_DOT_DOT),
    "gail": Look(_ORANGE, "^", _DASH_DOT),
    "valuedice": Look(_SKY, "D", _DOTTED),
    "ndi-made": Look(_BLUE, "P", _DASHED),
    "ndi-ebm": Look(_VERMILLION, "o", _SOLID),
    "sac": Look(_GREY, "X", _SOLID),
    "expert": Look(_BLACK, "*", _DASHED),
}
# dark hues beside the palette: a guest's method is never taken for one of the house
_SPARE = [
    Look(color, marker, dash)
    for (dash, marker), color in product(
        [(_DASH_DOT_DOT, "<"), (_LONG, ">"), (_DASHED, "h"), (_DASH_DOT, "p"), (_SOLID, "d"), (_DOTTED, "H")],
        ["#6A3D9A", "#8C510A", "#01665E", "#AA336A", "#6B6B00", "#1B2A6B"],
    )
]

_MARKERS = "osD^vPX<>dph"
_DASHES = (_SOLID, _DASHED, _DASH_DOT, _LONG, _DOTTED)

_FIRST = ("random", "bc", "red", "gail", "valuedice", "ndi-made", "ndi-ebm", "ndi-kde")
_LAST = ("sac", "expert")

_NDI = (
    "NDI: its default has log q above a floor that rises in place of the paper's literal log q, a quarter of each "
    "batch demonstrated, an actor that begins as a clone of the demonstrator and keeps a cloning loss, and a discount "
    "of 0.97; it has had more trials than the other methods"
)

NOTES = {
    "ndi-made": _NDI,
    "ndi-ebm": _NDI,
    "ndi-kde": _NDI,
    "bc": "BC: by default squared error of the mean action, with weight decay",
    "red": "RED: SAC in place of TRPO, standardised inputs, sigma by a rule, a quarter of each batch demonstrated",
    "gail": "GAIL (off-policy): GAIL's discriminator as the reward of the SAC learner that all methods share, in place "
    "of the on-policy TRPO learner of the original",
    "sac": "SAC (true reward): the shared learner trained on the task's own reward, an oracle and not a contestant",
}
"""What a reader must know of a method's label, printed under every table that shows it."""


def natural(name: str) -> tuple[float | str, ...]:
    """Sort key by the numbers in a name."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return tuple(float(part) if place % 2 else part for place, part in enumerate(parts))


def order(method: str) -> tuple[int, str]:
    """Sort key: the paper's order, methods that it does not have, the oracles."""
    if method in _FIRST:
        return _FIRST.index(method), method
    return (100 + _LAST.index(method), method) if method in _LAST else (50, method)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of each name; a name without one of its own gets a spare one by its checksum, distinct in this call.

    Several settings of one method, `method[setting=value]`, run through a sequence of colours in the order of their
    values, from dark to light. Other colours repeat only when all are taken.
    """
    known = sorted(set(names))
    taken = {name: _LOOKS[name] for name in known if name in _LOOKS}
    settings = groupby((name for name in known if "[" in name), key=lambda name: name.partition("[")[0])
    for scheme, (_, found) in zip(cycle(("viridis", "plasma", "cividis")), settings, strict=False):
        own = sorted(found, key=natural)
        shades = matplotlib.colormaps[scheme](np.linspace(0.0, 0.85, len(own))) if len(own) > 1 else ()
        for place, (name, shade) in enumerate(zip(own, shades, strict=False)):
            color = matplotlib.colors.to_hex(shade)
            taken[name] = Look(color, _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])
    for name in known:
        if name not in taken:
            start = zlib.crc32(name.encode()) % len(_SPARE)
            spares, colors = _SPARE[start:] + _SPARE[:start], {look.color for look in taken.values()}
            free = [look for look in spares if look not in taken.values()] or spares
            taken[name] = next((look for look in free if look.color not in colors), free[0])
    return taken


def literal(text: str) -> str:
    """Text for matplotlib to draw as it stands: a dollar sign in somebody's label begins no formula."""
    return text.replace("$", r"\$")


def theme() -> Any:
    """Settings for `matplotlib.rc_context`, a dictionary: seaborn's look for a paper, reproducible ids in SVG files."""
    import seaborn  # seconds that tables are not worth

    return {
        **seaborn.axes_style("ticks"),
        **seaborn.plotting_context("paper"),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.titleweight": "bold",
        "axes.titlesize": 9.5,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.linewidth": 0.8,
        "grid.color": "#E4E4E4",
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.5,
        "lines.markersize": 4.5,
        "legend.frameon": False,
        "savefig.dpi": 200,
        "svg.hashsalt": "ndi-bench",
    }
