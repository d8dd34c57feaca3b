"""How the figures of the interactive page are drawn: Vega-Lite specifications, compiled to Vega; and Vega itself.

The package vl-convert brings both the compiler and the script library, so the page needs no network. A specification
names data sets and signals; the page's scripts fill them as filters change. Colours, dashes and shapes are columns of
the data, so that a method looks the same everywhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import vl_convert

Spec = dict[str, Any]

_COLOR = {"field": "color", "type": "nominal", "scale": None}
_DASH = {"field": "dash", "type": "nominal", "scale": None}
_SHAPE = {"field": "shape", "type": "nominal", "scale": None}
_TOLD = {"field": "told", "type": "nominal"}


@cache
def vega() -> str:
    """The script library: a classic script that sets `window.vegaEmbed`."""
    return "(() => {\n" + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") + "\n})();"


@cache
def specifications() -> dict[str, Spec]:
    """Vega specifications by kind of figure."""
    made = {
        "curves": _curves(),
        "intervals": _intervals(),
        "profile": _profile(),
        "numbers": _numbers(),
        "ablation": _ablation(),
        "scores": _scores(),
    }
    return {name: _compiled(layers) for name, layers in made.items()}


def _compiled(layers: list[Spec]) -> Spec:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": 400,
        "height": 270,
        "padding": 2,
        "autosize": {"type": "fit", "contains": "padding"},
        "params": [{"name": name, "value": ""} for name in ("xTitle", "yTitle")],
        "layer": layers,
    }
    compiled: Spec = vl_convert.vegalite_to_vega(spec, vl_version="6.1")
    del compiled["background"]  # the page's shows through
    for axis in compiled["axes"]:
        if "tickCount" in axis:
            axis["tickCount"] = {"signal": "ceil(width / 80)" if axis["scale"] == "x" else "ceil(height / 50)"}
        # Vega-Lite takes no signal for the title of an axis, Vega does
        if axis.get("title") in ("xTitle", "yTitle"):
            axis["title"] = {"signal": axis["title"]}
    return compiled


def _x(field: str = "x", **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": "xTitle", **more}


def _y(field: str = "y", **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": "yTitle", "scale": {"zero": False}, **more}


def _layer(data: str, mark: str, encoding: Spec, **more: Any) -> Spec:
    return {"data": {"name": data}, "mark": {"type": mark, **more}, "encoding": encoding}


def _dots(data: str, encoding: Spec, size: int, opacity: float = 1) -> Spec:
    return _layer(data, "point", {**encoding, "tooltip": _TOLD}, filled=True, size=size, opacity=opacity)


def _references() -> list[Spec]:
    """Horizontal lines with their names."""
    line = _layer("references", "rule", {"y": _y("value"), "strokeDash": _DASH, "color": _COLOR}, strokeWidth=1.2)
    name = {"y": _y("value"), "text": {"field": "name"}, "x": {"value": 3}, "color": _COLOR}
    # the expert's is below its line, which is the highest; the others' are above
    side = {"expr": "datum.name == 'expert' ? 12 : -3"}
    return [line, _layer("references", "text", name, align="left", baseline="alphabetic", dy=side, fontSize=11)]


def _anchors() -> Spec:
    """Vertical lines."""
    return _layer("references", "rule", {"x": _x("value"), "strokeDash": _DASH, "color": _COLOR}, strokeWidth=1.2)


def _curves() -> list[Spec]:
    x = _x(scale={"nice": False, "zero": True})
    variant = {"field": "variant", "type": "nominal"}
    run = {"field": "run", "type": "nominal"}
    ends = {"y": _y("low"), "y2": {"field": "high"}}
    return [
        _layer("lines", "area", {"x": x, **ends, "fill": _COLOR, "detail": variant}, opacity=0.15),
        *_references(),
        _layer("seeds", "line", {"x": x, "y": _y(), "color": _COLOR, "detail": run}, strokeWidth=1, opacity=0.6),
        _layer("lines", "line", {"x": x, "y": _y(), "color": _COLOR, "strokeDash": _DASH, "detail": variant}),
        _dots("points", {"x": x, "y": _y(), "color": _COLOR, "shape": _SHAPE}, 45),
    ]


def _intervals() -> list[Spec]:
    y = {"field": "label", "type": "nominal", "sort": None, "title": None, "axis": {"grid": True, "labelLimit": 230}}
    x = _x(scale={"zero": False})
    return [
        _anchors(),
        _layer("rows", "rule", {"x": _x("low"), "x2": {"field": "high"}, "y": y, "color": _COLOR}, strokeWidth=6)
        | {"name": "bars"},
        _dots("rows", {"x": x, "y": y, "color": _COLOR, "shape": _SHAPE}, 90),
    ]


def _profile() -> list[Spec]:
    x, y = _x(scale={"domain": [-0.1, 1.3]}), _y(scale={"domain": [0, 1]})
    line = {"x": x, "y": y, "color": _COLOR, "strokeDash": _DASH, "detail": {"field": "variant", "type": "nominal"}}
    label = {"x": x, "y": y, "text": {"field": "label"}, "color": _COLOR}
    return [
        _anchors(),
        _layer("lines", "line", line, interpolate="step-after"),
        _layer("left", "text", label, align="left", dx=5, fontSize=11, fontWeight="bold", limit=170),
        _layer("right", "text", label, align="right", dx=-5, fontSize=11, fontWeight="bold", limit=170),
    ]


def _numbers() -> list[Spec]:
    x = {"field": "x", "type": "ordinal", "title": "xTitle", "axis": {"labelAngle": 0, "grid": True}}
    line = {"x": x, "y": _y(), "color": _COLOR, "strokeDash": _DASH, "detail": {"field": "variant", "type": "nominal"}}
    return [
        *_references(),
        _layer("rows", "rule", {"x": x, "y": _y("low"), "y2": {"field": "high"}, "color": _COLOR}, strokeWidth=2.5)
        | {"name": "bars"},
        _layer("rows", "line", line),
        _dots("rows", {"x": x, "y": _y(), "color": _COLOR, "shape": _SHAPE}, 70),
    ]


def _ablation() -> list[Spec]:
    x = {"field": "x", "type": "nominal", "sort": None, "title": "xTitle", "axis": {"labelLimit": 120, "grid": True}}
    return [
        *_references(),
        _dots("seeds", {"x": x, "y": _y(), "color": _COLOR}, 35, 0.55),
        _layer("rows", "rule", {"x": x, "y": _y("low"), "y2": {"field": "high"}, "color": _COLOR}, strokeWidth=2.5),
        _layer("rows", "tick", {"x": x, "y": _y(), "color": _COLOR, "tooltip": _TOLD}, thickness=3, width=26),
    ]


def _scores() -> list[Spec]:
    x = _x(scale={"zero": False})
    level = {
        "field": "level",
        "type": "quantitative",
        "scale": {"type": "log", "scheme": "viridis"},
        "legend": {"title": "Updates of BC"},
    }
    return [
        *_references(),
        _dots("cloned", {"x": x, "y": _y(), "color": level}, 45),
        _dots("others", {"x": x, "y": _y(), "color": _COLOR, "shape": _SHAPE}, 90),
    ]
