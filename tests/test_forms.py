"""Which form of a step a cell takes, what that is in the identity of a run, and how a machine's fastest is found."""

import fcntl
import json
from dataclasses import replace

import pytest
import torch

from baselines import gail, iqlearn, valuedice
from benchmarks.kit import examination, forms
from benchmarks.kit.acceleration import AccelerationWarning, alone
from benchmarks.kit.examination import carried_out
from benchmarks.kit.forms import PAYS, Form, is_compiled, settled
from benchmarks.kit.sac import SACConfig
from benchmarks.plan.configuration import as_json, changes, config_hash

FAST = Form(compile=True, precision="bfloat16")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def form(updates, **settings):
    return SACConfig(updates_per_step=2, **settings).form(updates // 2, lambda: FAST)


def test_short_cells_are_plain_and_long_ones_as_fast_as_the_machine():
    assert form(PAYS) == FAST
    assert form(PAYS - 2) == Form()


def test_what_is_set_is_not_left_to_the_machine():
    assert form(PAYS, compile=False) == Form()
    assert form(PAYS, precision="float32") == Form(compile=True)
    assert form(100, compile=True) == Form(compile=True)
    assert form(100, compile=True, precision="bfloat16") == FAST
    assert (
        SACConfig(compile=False, precision="float32").form(10**6, lambda: pytest.fail("it does not matter")) == Form()
    )


def test_offline_cells_are_as_long_as_their_own_number_of_updates():
    config = valuedice.OFFLINE.config
    assert config.form(0, lambda: FAST) == FAST
    assert replace(config, offline_updates=PAYS - 1).form(0, lambda: FAST) == Form()


def test_runs_are_the_same_run_in_whatever_form_the_machine_takes():
    plain, fixed = SACConfig(), SACConfig(compile=False, precision="float32")
    assert config_hash(plain) == config_hash(fixed)
    assert json.loads(as_json(plain))["precision"] == "float32"
    assert config_hash(SACConfig(compile=True)) != config_hash(plain)
    assert "precision" not in json.loads(as_json(valuedice.ValueDICEConfig()))
    assert json.loads(as_json(valuedice.ValueDICEConfig(precision="bfloat16")))["precision"] == "bfloat16"
    assert json.loads(as_json(gail.GAILConfig()))["sac"]["compile"] is False
    assert changes(fixed, plain) == "{}"


def test_a_settled_config_says_what_its_cell_takes():
    config = settled(gail.GAILConfig(), PAYS, lambda: FAST)
    assert (config.sac.compile, config.sac.precision) == (True, "bfloat16")
    assert is_compiled(config)
    assert not is_compiled(settled(gail.GAILConfig(), 100, lambda: FAST))
    assert config.sac.cost < replace(config.sac, precision="float32").cost < SACConfig(compile=False).cost
    assert settled(iqlearn.IQLearnConfig(), PAYS, lambda: FAST).precision == "bfloat16"


def test_a_machine_is_examined_once(monkeypatch):
    made = []
    monkeypatch.setattr(examination, "examine", lambda: (made.append(1), FAST)[1])
    cpu = torch.device("cpu")
    assert examination.fastest(cpu) == examination.fastest(cpu) == forms.assumed() == FAST
    assert len(made) == 1
    (forms.cache_folder() / "forms.json").write_text("no JSON")
    assert examination.fastest(cpu) == FAST
    assert len(made) == 2
    assert examination.fastest(torch.device("cuda")) == Form()  # replayed as a graph there


@pytest.mark.parametrize(
    ("wrong", "speedup", "found"),
    [
        ((), 2.0, FAST),
        ((), 1.2, Form(compile=True)),
        ((Form(precision="bfloat16"),), 2.0, Form(compile=True)),
        ((FAST,), 2.0, Form(compile=True)),
        ((FAST, Form(compile=True)), 2.0, Form(precision="bfloat16")),
        ((FAST, Form(compile=True), Form(precision="bfloat16")), 2.0, Form()),
    ],
)
def test_only_forms_that_take_the_plain_step_are_chosen(monkeypatch, wrong, speedup, found):
    plain = torch.tensor([1.0, 2.0])
    monkeypatch.setattr(examination, "_gradient", lambda form: 1.1 * plain if form in wrong else plain)
    monkeypatch.setattr(examination, "_speedup", lambda: speedup)
    assert examination.examine() == found


def test_a_form_that_fails_is_not_chosen(monkeypatch):
    def gradient(form):
        if form.compile:
            raise RuntimeError("no compiler")
        return torch.ones(2)

    monkeypatch.setattr(examination, "_gradient", gradient)
    monkeypatch.setattr(examination, "_speedup", lambda: 1.0)
    assert examination.examine() == Form()


def test_the_small_learner_tells_rounding_from_a_wrong_step():
    plain = examination._gradient(Form())
    assert examination._right(Form(precision="bfloat16"), plain)
    assert not torch.equal(examination._gradient(Form(precision="bfloat16")), plain)
    assert not examination._right(Form(precision="bfloat16"), 1.1 * plain)


@pytest.mark.parametrize("works", [True, False])
def test_what_is_not_plain_is_noted_for_the_record(point_problem, monkeypatch, works):
    def broken(function, dynamic):
        def fail(*args):
            raise RuntimeError("no compiler")

        return function if works else fail

    monkeypatch.setattr(torch, "compile", broken)
    problem = point_problem()

    def step(config):
        return carried_out("learner", lambda *_: (None,), lambda *_: {}, problem, config, ())

    step(SACConfig())
    assert problem.notes == {}
    carried = step(SACConfig(compile=True))
    assert problem.notes == {"learner": "compiled"}
    if not works:
        with pytest.warns(AccelerationWarning, match="no compiler"):
            carried(None)
        assert problem.notes == {"learner": "plain"}


def test_a_run_that_is_gone_on_with_in_another_form_names_both(point_problem):
    problem = replace(point_problem(), restored={})
    for config in (SACConfig(compile=True), SACConfig(compile=True), SACConfig()):
        carried_out("learner", lambda *_: (None,), lambda *_: {}, problem, config, ())
    assert problem.notes == {"learner": "plain, then compiled, then plain"}


def test_one_process_compiles_at_a_time():
    with alone("a step"):
        (path,) = (forms.cache_folder() / "locks").iterdir()
        with path.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with alone("another step"):
            pass
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
