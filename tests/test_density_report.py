"""Table, warnings and figures of diagnostics follow from their rows."""

import io
import os

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from benchmarks.kit.errors import UserError
from benchmarks.reporting import density as report

STAGES = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0)


def rows_of(reward, score_of, seeds=(0, 1), best=900.0, expert=True):
    """Rows whose score is a function of return, level and seed; so is what an episode earns, with noise."""
    generator = np.random.default_rng(0)
    behaviours = [("demonstrations", 0.0, 1000.0), ("other episodes", 0.0, 990.0), ("motionless", 0.0, 100.0)]
    behaviours += [("random", 0.0, 10.0)] + [("bc", s, best * s / STAGES[-1]) for s in STAGES]
    behaviours += [("expert", noise, 1000.0 * (1 - noise)) for noise in (0.0, 0.5, 1.0)] * expert
    return [
        {"reward": reward, "seed": seed, "behaviour": behaviour, "level": level, "episode": episode,
         "return": value + 2 * episode - 1, "length": 10, "earned": score + 0.01 * generator.standard_normal(),
         "mean": score}
        for seed in seeds for behaviour, level, value in behaviours
        for score in [score_of(value, level, seed)] for episode in range(2)
    ]  # fmt: skip


def found_in(rewards, **options):
    rows = [row for name, score_of in rewards.items() for row in rows_of(name, score_of, **options)]
    settings = {
        "task": "hopper", "demos": 1, "seeds": [0, 1], "episodes": 2, "stages": list(STAGES),
        "rewards": {name: {"label": name.upper(), "normalised": name == "made"} for name in rewards},
    }  # fmt: skip
    return settings, pd.DataFrame(rows)


def rising(value, level, seed):
    return value**2


def falling(value, level, seed):
    return -value


def scrambled(value, level, seed):
    return np.sin(level * (seed + 1) / 70) * 100


def test_rank_correlation_is_scipys_mean_over_seeds_inside_its_interval():
    found = report.Diagnostics(*found_in({"made": scrambled}))
    means = [found.of("made", "bc").query("seed == @seed") for seed in (0, 1)]
    for statistic in ("earned", "mean"):
        wanted = np.mean([scipy.stats.spearmanr(one[statistic], one["return"]).statistic for one in means])
        value, low, high = found.correlation("made", statistic)
        assert value == pytest.approx(wanted)
        assert -1 <= low < value < high <= 1


def test_rewards_that_do_not_rise_with_the_return_are_named():
    found = report.Diagnostics(*found_in({"made": rising, "ebm": falling, "kde": scrambled}))
    assert found.correlation("made") == (1, 1, 1)
    assert found.correlation("ebm") == (-1, -1, -1)
    warnings = report.unfit(found)
    assert [line.split()[0] for line in warnings] == ["EBM", "KDE"]
    assert all("not worth an RL run" in line for line in warnings)


def test_a_constant_reward_has_no_order_to_agree_with():
    settings, rows = found_in({"made": rising})
    rows["earned"] = 1.0
    value, low, high = report.Diagnostics(settings, rows).correlation("made")
    assert value == 0
    assert low < 0 < high


def test_weak_cloning_is_said():
    (line,) = report.unfit(report.Diagnostics(*found_in({"made": rising}, best=200.0)))
    assert "BC reaches 200 at most, the demonstrations 1,000" in line


def test_rows_come_back_as_they_were_written_and_are_reported(tmp_path):
    settings, rows = found_in({"made": rising, "ebm": falling})
    assert not report.stored(tmp_path)
    report.write(tmp_path, settings, rows)
    assert report.stored(tmp_path)
    found = report.Diagnostics.read(tmp_path)
    assert found.settings == settings
    pd.testing.assert_frame_equal(found.means, report.Diagnostics(settings, rows).means)
    console = Console(record=True, width=200)
    report.build(tmp_path, console)
    text = console.export_text()
    assert "Rewards learned from 1 demonstration: hopper" in text
    assert "warning: EBM does not clearly rise" in text
    assert {path.name for path in tmp_path.iterdir()} == {
        "scores.parquet", "README.md", "score-against-return.svg", "expert-with-noise.svg",
    }  # fmt: skip
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    report.build(tmp_path, console)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}  # same rows, same bytes


def test_bounded_scores_are_shown_on_their_own_scale():
    """RED's lie in (0, 1]: two digits, and no logarithm; what an episode earns is not shifted."""
    found = report.Diagnostics(*found_in({"red": lambda value, level, seed: value / 1000}))
    assert report.table(found).sections[0][0].entries[0].text.startswith("1.00 ±")
    earned, panel = report.return_figure(found).axes[:2]
    assert earned.get_yscale() == panel.get_yscale() == "linear"
    low, high = earned.get_ylim()
    assert low < 0.01 < 1 < high
    low, high = panel.get_ylim()
    assert low < 0.01 - 1 < 0 < high  # random and the demonstrations, both inside


def test_the_table_shows_means_over_episodes_and_seeds():
    shown = report.table(report.Diagnostics(*found_in({"made": lambda value, level, seed: value + 100 * seed})))
    cells = dict(zip(shown.header[1:], shown.sections[0][0].entries, strict=True))
    assert cells["Demonstrations"].text == "1,050.0 ± 70.7"
    assert cells["BC, 600 updates"].text == "950.0 ± 70.7"
    assert "Held-out block" not in cells  # there are no such rows
    assert shown.sections[1][0].entries[0].text == "1,000 ± 0"


def test_figures_show_the_rows():
    found = report.Diagnostics(*found_in({"made": rising, "ebm": falling}))
    figure = report.return_figure(found)
    FigureCanvasAgg(figure).draw()
    earned, panel = figure.axes[:2]
    cloned = found.of("made", "bc")
    np.testing.assert_allclose(earned.collections[0].get_offsets(), cloned[["return", "earned"]])
    points = panel.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], cloned["return"])
    np.testing.assert_allclose(points[:, 1], cloned["mean"] - 1000.0**2, atol=0.1)
    assert panel.get_title() == "MADE: rank correlation 1.00 [1.00, 1.00]"
    assert panel.get_yscale() == "symlog"
    figure = report.behaviours_figure(found)
    FigureCanvasAgg(figure).draw()
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["MADE"], [1, 0.25, 0], atol=1e-4)
    np.testing.assert_allclose(lines["EBM"], [0, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose(lines["true return"], [1, 0.5, 0], atol=1e-9)
    assert report.behaviours_figure(report.Diagnostics(*found_in({"made": rising}, expert=False))) is None


def test_a_score_without_any_order_is_said_in_its_panel():
    settings, rows = found_in({"made": rising, "kde": falling})
    rows.loc[rows["reward"] == "kde", "earned"] = 0.0
    found = report.Diagnostics(settings, rows)
    flat = report.return_figure(found).axes[2]
    assert [text.get_text() for text in flat.texts] == ["0 for every policy:\nthere is no order to follow"]
    figure = report.behaviours_figure(found)
    assert "KDE" not in {line.get_label() for line in figure.axes[0].lines}
    assert figure.axes[0].texts[0].get_text() == "KDE is 0 under every noise"
    assert {"KDE", "MADE", "true return"} == {text.get_text() for text in figure.legends[0].get_texts()}


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / report.ROWS).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"scores\.parquet cannot be read"):
        report.Diagnostics.read(tmp_path)


def test_rows_of_another_version_are_named(tmp_path):
    settings, rows = found_in({"made": rising})
    report.write(tmp_path, settings, rows.drop(columns="earned"))
    with pytest.raises(UserError, match=r"it lacks earned\); remove it and compute it again"):
        report.Diagnostics.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"rewards": None}, "its settings have no sound rewards"),
        ({"rewards": {"made": "MADE"}}, "its settings have no sound rewards"),
        ({"demos": "one", "seeds": 3}, "its settings have no sound demos, seeds"),
    ],
)
def test_settings_of_wrong_types_are_named(tmp_path, changes, fault):
    settings, rows = found_in({"made": rising})
    report.write(tmp_path, settings | changes, rows)
    with pytest.raises(UserError, match=fault):
        report.Diagnostics.read(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda rows: rows.assign(earned="much"), "earned: no numbers"),
        (lambda rows: rows.assign(reward=[["made"]] * len(rows)), "a reward or a behaviour is no name"),
        (lambda rows: rows.assign(seed="one"), "a seed is no whole number"),
        (lambda rows: rows.assign(earned=np.nan), "a number is not finite"),
        (lambda rows: rows[rows["behaviour"] != "bc"], "lacks behaviours"),
        (lambda rows: rows[(rows["behaviour"] != "random") | (rows["seed"] == 0)], "lacks behaviours"),
        (lambda rows: rows.assign(reward="other"), "lacks behaviours"),
        (lambda rows: rows[:0], "lacks behaviours"),
    ],
)
def test_rows_that_cannot_be_reported_are_named(tmp_path, spoil, fault):
    settings, rows = found_in({"made": rising})
    report.write(tmp_path, settings, spoil(rows))
    with pytest.raises(UserError, match=fault):
        report.Diagnostics.read(tmp_path)


def test_planted_links_and_pipes_are_not_followed_or_waited_for(tmp_path):
    folder, victim = tmp_path / "found", tmp_path / "victim"
    victim.write_text("mine")
    settings, rows = found_in({"made": rising})
    folder.mkdir()
    report.write(folder, settings, rows)
    (folder / "README.md").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        report.build(folder, Console(file=io.StringIO()))
    assert victim.read_text() == "mine"
    (folder / report.ROWS).unlink()
    os.mkfifo(folder / report.ROWS)
    with pytest.raises(UserError, match="it is no regular file"):
        report.Diagnostics.read(folder)
