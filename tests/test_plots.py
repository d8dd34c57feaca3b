import colorsys
import json
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from benchmarks.reporting import plots, style
from benchmarks.reporting.results import Results

RETURNS = {("bc", "hopper"): 300, ("gail", "hopper"): 700, ("sac", "hopper"): 950, ("gail", "ant"): 400}


def arranged(store):
    return Results.of(*store.averages())


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_learning_curves_draw_the_mean_and_the_span_of_the_seeds(fill):
    figure = plots.learning_curves(arranged(fill(RETURNS, seeds=3)).at(1))
    hopper, ant = figure.axes
    assert (hopper.get_title(), ant.get_title()) == ("Hopper", "Ant")
    curve = lines(hopper)["GAIL (off-policy)"]
    assert curve.get_xdata().tolist() == [0.0, 0.5, 1.0]
    assert curve.get_ydata() == pytest.approx([0.0, 350.0, 700.0])
    bands = [band.get_paths()[0].vertices[:, 1] for band in hopper.collections]
    assert any(b.max() == pytest.approx(800) and b[b > 590].min() == pytest.approx(600) for b in bands)
    assert "Environment steps (thousands)" in hopper.get_xlabel()
    assert "Return" in hopper.get_ylabel()
    assert figure.legends[0].get_title().get_text() == "Line: mean over 3 seeds, band: lowest to highest seed"


def test_offline_methods_and_references_are_horizontal(fill):
    hopper, ant = plots.learning_curves(arranged(fill(RETURNS)).at(1)).axes
    assert lines(hopper)["BC"].get_ydata().tolist() == [300.0, 300.0]
    assert lines(hopper)["BC"].get_xdata().tolist() == [0.0, 1.0]
    assert lines(hopper)["Expert"].get_ydata()[0] == 1000.0
    assert lines(hopper)["Random"].get_ydata()[0] == 20.0
    assert not {"Expert", "Random", "BC"} & set(lines(ant)), "no reference is known there, and BC was not run"


def test_methods_that_take_no_environment_steps_make_no_figure_by_themselves(fill):
    store = fill({("bc", "hopper"): 300, ("bc", "ant"): 100, ("gail", "ant"): 700})
    (ant,) = plots.learning_curves(arranged(store).at(1)).axes
    assert {"BC", "GAIL (off-policy)"} <= set(lines(ant))
    assert plots.learning_curves(arranged(fill({("bc", "hopper"): 300}, demos=4)).at(4)) is None


def test_a_label_is_drawn_as_it_stands(fill):
    odd = {"label": r"W $\foo$ & 50% a|b_c", "env_id": r"$\bad$-v5"}
    results = arranged(fill({("bc", "hopper"): 800, ("gail", "hopper"): 900}, **odd))
    for figure in (plots.learning_curves(results.at(1)), plots.aggregates(results.at(1))):
        figure.canvas.draw()  # a formula that cannot be read raises here


def test_failed_runs_are_not_drawn(fill, a_run):
    store = fill({("bc", "hopper"): 300, ("gail", "hopper"): 700})
    store.write(*a_run("gail", seed=1, finals=(1e9,), status="diverged"))
    (hopper,) = plots.learning_curves(arranged(store).at(1)).axes
    assert lines(hopper)["GAIL (off-policy)"].get_ydata()[-1] == pytest.approx(650.0)


def test_aggregates_are_sorted_and_leave_out_the_incomparable(fill):
    returns = {(m, t): r for m, r in (("bc", 300), ("ndi-ebm", 800), ("sac", 900)) for t in ("hopper", "ant")}
    figure = plots.aggregates(arranged(fill({**returns, ("gail", "ant"): 990})).at(1))
    dots, profiles = figure.axes
    assert [label.get_text() for label in dots.get_yticklabels()] == ["BC", "NDI+EBM", "SAC (true reward)"]
    points = [line.get_xdata()[0] for line in dots.lines if len(line.get_xdata()) == 1]
    assert points == pytest.approx([0.3, 0.8, 0.9])
    profile = lines(profiles)["NDI+EBM"]
    assert np.interp(0.8, profile.get_xdata(), profile.get_ydata()) == pytest.approx(0.5, abs=0.01)
    assert "not on all of these: GAIL (off-policy)" in figure.get_supxlabel()


def test_demonstration_numbers_need_two(fill):
    store = fill({("bc", "hopper"): 300, ("sac", "hopper"): 900})
    assert plots.demonstration_numbers(arranged(store)) is None
    fill({("bc", "hopper"): 600}, demos=4)
    (hopper,) = plots.demonstration_numbers(arranged(store)).axes
    assert lines(hopper)["BC"].get_xdata().tolist() == [1, 4]
    assert lines(hopper)["BC"].get_ydata() == pytest.approx([300, 600])
    assert "SAC (true reward)" not in lines(hopper)
    for demos, budget in ((1, 1000), (4, 1000), (8, 9000)):
        fill({("gail", "hopper"): 700}, demos=demos, budget=budget)
        (legend,) = plots.demonstration_numbers(arranged(store)).legends
        assert ("of different budgets" in legend.get_title().get_text()) == (budget == 9000)


def test_nothing_to_draw_gives_no_figure(fill, a_run):
    store = fill({})
    store.write(a_run("gail", status="failed")[0], [])
    results = arranged(store)
    assert plots.learning_curves(results.at(1)) is plots.aggregates(results.at(1)) is None


def test_seeds_that_share_no_evaluation_have_no_curve(fill, a_run):
    store = fill({("gail", "hopper"): 700})
    for seed in (0, 1):
        run, rows = a_run("dac", seed=seed, finals=(500, 500))
        store.write(run, [row | {"step": row["step"] + seed} for row in rows if row["final"]])
    figure = plots.learning_curves(arranged(store).at(1))
    assert not any("DAC" in str(line.get_label()) for axes in figure.axes for line in axes.lines)


def test_many_long_labels_leave_room_for_the_panels(fill, a_run):
    store = fill({("gail", task): 300 for task in ("hopper", "ant", "walker2d", "humanoid", "swimmer")})
    for number in range(20):
        config = {f"setting_{place}": 0.1 + number for place in range(12)}
        run, rows = a_run("bc", seed=0, config=json.dumps(config), config_hash=f"{number:08}", run_id=f"bc-{number}")
        store.write(run, rows)
    results = arranged(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # layouts that fail are a warning
        for figure in (plots.learning_curves(results.at(1)), plots.aggregates(results.at(1))):
            plots.svg(figure)
            panel = figure.axes[0].get_window_extent()
            assert min(panel.width, panel.height) / figure.dpi > 0.8
    everywhere = {(m, t): 300 for m in ("red", "sqil", "dac", "pwil", "ndi-ebm") for t in results.tasks}
    figure = plots.aggregates(arranged(fill(everywhere)).at(1))
    assert "not on all of these: 20 others" in figure.get_supxlabel()


def test_the_expert_alone_is_no_aggregate(fill):
    assert plots.aggregates(arranged(fill({("expert", "hopper"): 990})).at(1)) is None


def test_drawn_files_are_repeatable_and_leave_pyplot_alone(fill):
    results = arranged(fill(RETURNS))
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    one, two = (plots.svg(plots.learning_curves(results.at(1))) for _ in range(2))
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend
    assert pyplot.get_fignums() == []
    assert one == two
    assert b"<dc:date>" not in one


def test_a_method_looks_the_same_in_any_company():
    alone, crowded = style.looks(["my-method"]), style.looks(["bc", "gail", "my-method", "ndi-ebm"])
    assert alone["my-method"] == crowded["my-method"]
    assert crowded["ndi-ebm"] == style.looks(["ndi-ebm"])["ndi-ebm"]


def test_every_method_has_its_own_look_also_in_grey():
    house = ["random", "bc", "red", "gail", "valuedice", "ndi-made", "ndi-ebm", "sac", "expert"]
    looks = style.looks([*house, *(f"guest-{i}" for i in range(12))])
    assert len(set(looks.values())) == len(looks)
    contestants = [looks[name] for name in house[1:7]]
    assert len({look.dash for look in contestants}) == len({look.marker for look in contestants}) == 6
    assert len({look.color for look in contestants}) == 6
    assert len({looks[f"guest-{i}"].color for i in range(12)}) == 6, "no spare colour twice while another is free"
    for look in looks.values():
        red, green, blue = matplotlib.colors.to_rgb(look.color)
        assert colorsys.rgb_to_hls(red, green, blue)[1] < 0.7, "too faint on white"
