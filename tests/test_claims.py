"""Differences and shares that pages state, recomputed from the stored rows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.data import datasets
from benchmarks.experts import expert_hash
from benchmarks.experts.policy import load_expert
from benchmarks.experts.rollout import expert_player, rollout
from benchmarks.plan import grid, profiles
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS as KNOWN

ROOT = Path(__file__).parents[1]
TASKS = ["hopper", "halfcheetah", "walker2d"]
PAPER = [*TASKS, "ant", "humanoid"]


def text(page):
    return " ".join((ROOT / page).read_text().split())


def last(folder, method="ndi-made", **changes):
    """Last returns, (seeds,), by task, of the runs of a folder with exactly these changes of the default."""
    store = Store(ROOT / "results" / folder)
    runs = store.runs().set_index("run_id").query("method == @method")
    chosen = runs[
        runs["changes"].map(json.loads) == {name.replace("__", "."): value for name, value in changes.items()}
    ]
    chosen = chosen.assign(last=store.evaluations().query("final").groupby("run_id")["return"].mean())
    return {task: own.sort_values("seed")["last"].to_numpy() for task, own in chosen.groupby("task")}


def paired(ours, theirs):
    """Mean difference and scipy's interval, as they are written."""
    low, high = stats.ttest_rel(ours, theirs).confidence_interval()
    return [f"{value:,.0f}" for value in (np.mean(ours - theirs), low, high)]


def test_what_five_seeds_show_of_the_demonstrated_rows():
    told = {
        "halfcheetah": "on HalfCheetah the default is better by {}, with an interval of {} to {} (paired by seed)",
        "hopper": "On Hopper it is better by {} ({} to {})",
    }
    for task, words in told.items():
        folder = f"search/switches-{task}"
        without = last(folder, sac__demonstration_fraction=0.0)[task]
        assert words.format(*paired(last(folder)[task], without)) in text("ndi/README.md")


def test_returns_by_the_default_before_weights_were_in_nats():
    before, now = ([f"{last(folder)[task].mean():,.0f}" for task in TASKS] for folder in ("learner", "desk"))
    assert "NDI+MADE had {}, {} and {} by it on Hopper".format(*before) in text("ndi/README.md")
    assert "It has {}, {} and {} now".format(*now) in text("ndi/README.md")


@pytest.mark.parametrize(
    ("name", "told"), [("ant", "on Ant these are {} of {}"), ("humanoid", "on Humanoid {} of {} |")]
)
def test_how_many_dimensions_are_switches(name, told):
    player = expert_player(KNOWN[name], load_expert(name))
    (episode,) = rollout(KNOWN[name], player, [0])
    same = (episode.observations == np.median(episode.observations, axis=0)).mean(axis=0)
    assert told.format((same > 0.5).sum(), same.size) in text("ndi/README.md")


def test_what_ant_and_humanoid_ask_of_a_density():
    scores = pd.read_parquet(ROOT / "results/density/ant-d1-e1c7c2f4/scores.parquet")
    means = scores.groupby(["reward", "behaviour", "level"])["mean"].mean()
    told = "Where the demonstrations have {:.1f} nats by MADE and {:.1f} by the energy model, a clone has {:.0f} and "
    told += "{:.0f}, and random actions {:,.0f} and {:.0f}"
    seen = [("demonstrations", 0), ("bc", means["made", "bc"].index.max()), ("random", 0)]
    numbers = [means[density, *behaviour] + 0.0 for behaviour in seen for density in ("made", "ebm")]
    assert told.format(*numbers) in text("ndi/README.md")
    scores = pd.read_parquet(ROOT / "results/density/humanoid-d1-a49727e9/scores.parquet")
    means = scores.groupby(["reward", "behaviour", "level"])["mean"].mean()
    seen = [("demonstrations", 0), ("held-out block", 0), ("bc", means["made", "bc"].index.max())]
    numbers = [means[density, *behaviour] + 0.0 for density in ("made", "ebm") for behaviour in seen]
    told = "MADE gives its demonstrations {:.0f} nats, a held-out block of the same trajectory {:.0f} and a clone "
    told += "{:,.0f}; the energy model {:.0f}, {:.0f} and {:.0f}"
    assert told.format(*numbers).replace("model -0,", "model 0,") in text("ndi/README.md")


def test_the_reward_that_ranks_behaviour_best_is_not_a_density():
    scores = pd.read_parquet(ROOT / "results/density/hopper-d1-059429ff/scores.parquet")
    scores = scores.query("behaviour == 'bc' and reward != 'kde'")  # whose seeds may earn nothing anywhere
    points = scores.groupby(["reward", "seed", "level"])[["earned", "return"]].mean()
    ranked = {
        reward: np.mean([stats.spearmanr(one["earned"], one["return"])[0] for _, one in own.groupby("seed")])
        for reward, own in points.groupby("reward")
    }
    told = "a rank correlation of {red:.2f} by RED, {ebm:.2f} by the energy model and {made:.2f} by MADE"
    assert told.format(**ranked) in text("ndi/README.md")


def test_the_literal_reward_does_not_learn_to_run_in_more_steps():
    store = Store(ROOT / "results/search/literal-halfcheetah")
    rows = store.evaluations().groupby(["run_id", "step"])["return"].mean().unstack()
    runs = store.runs().set_index("run_id").sort_values("seed")
    alone = runs["changes"].map(lambda changes: "cloned" in changes)
    told = [[f"{value:,.0f}" for value in rows.loc[runs.index[chosen], 100_000]] for chosen in (~alone, alone)]
    assert "Three seeds end at {}, {} and {}".format(*told[0]) in text("ndi/README.md")
    assert "demonstrated rows end at {} and {}, and return less than 10".format(*told[1]) in text("ndi/README.md")
    assert rows.loc[runs.index[alone]].max().max() < 10


def test_what_an_evaluation_adds_to_the_spread_of_returns():
    returns = (
        Store(ROOT / "results/variation").evaluations().query("final and method == 'bc'").groupby("run_id")["return"]
    )
    share = returns.var(ddof=1).mean() / 10 / returns.mean().var(ddof=1)
    assert f"the ten episodes of an evaluation {share:.0%}" in text("benchmarks/protocol.md").replace(" %", "%")


def test_stronger_experts_fell_short():
    means = Store(ROOT / "results/search/stronger-experts").evaluations().groupby(["task", "step"])["return"].mean()
    best = [f"{means[task].max():,.0f}" for task in ("halfcheetah-strong", "walker2d-strong")]
    assert "its best evaluations are {} and {}".format(*best) in text("benchmarks/protocol.md")


def test_the_papers_table_of_lambda_f():
    store = Store(ROOT / "results/lambda-f")
    weight = store.runs().set_index("run_id")["config"].map(lambda config: json.loads(config)["reward"]["lambda_f"])
    last = store.evaluations().query("final").groupby("run_id")["return"].mean().groupby(weight).agg(["mean", "min"])
    assert list(last.index) == [0, 1e-4, 1e-3, 5e-3, 1e-2, 1e-1, 1, 10]
    few = last.loc[:0.1, "mean"]
    told = f"From 0 to 0.1 nats per nat the means are {few.min():,.0f} to {few.max():,.0f}"
    told += f", with 1 it is {last.loc[1, 'mean']:,.0f}, with 10 {last.loc[10, 'mean']:,.0f}"
    assert told in text("ndi/README.md")


def finals(folder, method, task, demos):
    """Last returns of seeds 10 and up, (seeds,)."""
    rows = Store(ROOT / "results" / folder).evaluations()
    chosen = rows.query("final and method == @method and task == @task and demos == @demos")
    return chosen.groupby("seed")["return"].mean().to_numpy()


def test_what_more_demonstrations_and_fewer_transitions_do():
    page = text("ndi/README.md")
    means = {
        (method, task): [f"{finals('demonstrations', method, task, demos).mean():,.0f}" for demos in (5, 25)]
        for method in ("ndi-made", "bc", "gail")
        for task in ("hopper", "walker2d")
    }
    ndi, walking = means["ndi-made", "hopper"], means["ndi-made", "walker2d"]
    assert "ends at {} and {} on Hopper and at {} and {} on Walker2d (three test".format(*ndi, *walking) in page
    (few, many), (few_walking, many_walking) = means["bc", "hopper"], means["bc", "walker2d"]
    assert f"with 5 ({few} and {few_walking}, five seeds) and is there with 25 ({many} and {many_walking})" in page
    gail = (*means["gail", "hopper"], *means["gail", "walker2d"])
    assert "GAIL has {} and {} on Hopper, {} and {} on Walker2d".format(*gail) in page
    assert {len(finals("demonstrations", "ndi-made", task, 5)) for task in ("hopper", "walker2d")} == {3}


def test_what_scattered_transitions_do():
    page = text("ndi/README.md")
    found = {
        (method, task): finals("subsampled", method, task, 5)
        for method in ("ndi-made", "bc", "gail")
        for task in ("hopper", "walker2d")
    }
    mean = {key: f"{returns.mean():,.0f}" for key, returns in found.items()}
    each = {key: "{:,.0f}, {:,.0f} and {:,.0f}".format(*returns[:3]) for key, returns in found.items()}
    assert f"BC has {mean['bc', 'hopper']} on Hopper and {mean['bc', 'walker2d']} on Walker2d" in page
    assert f"NDI+MADE still has {mean['ndi-made', 'hopper']} and GAIL {mean['gail', 'hopper']}" in page
    assert f"NDI+MADE ends at {each['ndi-made', 'walker2d']}, and GAIL at {each['gail', 'walker2d']}" in page


@pytest.mark.parametrize(
    ("profile", "open_"),
    [
        ("paper", set()),
        ("demonstrations", set()),
        ("subsampled", set()),
        (
            "paper-rivals",
            {(task, "valuedice") for task in PAPER}
            | {(task, method) for task in PAPER[3:] for method in ("dac", "sqil", "iq-learn", "pwil")},
        ),
    ],
)
def test_what_is_open_of_the_papers_profiles(profile, open_):
    """By `ndi-bench run --dry-run`: the stored rows are the runs that today's settings ask for."""
    runs = grid.expand(
        profiles.load(profile), lambda task, _: datasets.expected(task, "embedded").content_hash, expert_hash
    )
    folder = "paper" if profile == "paper-rivals" else profile
    remaining, _ = grid.pending(runs, Store(ROOT / "results" / folder).status)
    assert {(run.task.name, run.method) for run in remaining} == open_
