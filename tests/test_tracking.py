"""The wandb mirror: a copy that never stops a run."""

import importlib.util
import socket
from types import SimpleNamespace

import pytest
from toy_methods import cells

from benchmarks.run import runner, tracking
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store

wandb = pytest.importorskip("wandb", reason="wandb is an extra")


def test_a_curve_is_the_mean_over_episodes(a_run):
    _, evaluations = a_run(method="gail", finals=(900.0, 1100.0), steps=(0, 500, 1000))
    points = list(tracking.curve(evaluations))
    assert [point["step"] for point in points] == [0, 500, 1000]
    assert [point["return"] for point in points] == [0.0, 500.0, 1000.0]
    assert points[-1]["normalized"] == pytest.approx(1.0)
    assert points[-1]["length"] == 1000


def test_losses_are_logged_with_the_returns_of_their_update(a_run):
    _, evaluations = a_run(method="gail", steps=(0, 500, 1000))
    points = list(tracking.curve(evaluations, [{"step": 500, "update": 500, "loss": 0.25}]))
    assert [point.get("loss") for point in points] == [None, 0.25, None]


def test_files_go_where_wandb_is_told(tmp_path, monkeypatch, a_run, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    made = recorder()
    tracking.mirror(*a_run(), tmp_path)
    assert made.options["dir"] == str(tmp_path / "elsewhere")
    kept = tmp_path / "elsewhere" / "wandb" / "offline-run-1"
    kept.mkdir(parents=True)
    assert tracking.offline(tmp_path) == [kept]
    (kept / "run-1.wandb.synced").touch()
    assert tracking.offline(tmp_path) == []


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch, a_run, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    made = recorder()
    (tmp_path / "wandb").symlink_to(tmp_path)
    with pytest.warns(tracking.TrackingWarning, match="is a symbolic link, which is not followed"):
        tracking.mirror(*a_run(), tmp_path)
    assert not made.modes


def test_a_server_that_is_not_reached_is_not_waited_for(tmp_path, monkeypatch, a_run, recorder):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        monkeypatch.setattr(tracking, "_address", lambda: f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("WANDB_MODE", "online")
        made = recorder()
        with pytest.warns(tracking.TrackingWarning, match="is kept offline: http://127.0.0.1:.* is not reached"):
            tracking.mirror(*a_run(), tmp_path)
    assert made.modes == ["offline"]


def test_a_missing_package_is_one_clear_line(monkeypatch):
    assert tracking.missing() is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert 'pip install "ndi-bench[wandb]"' in tracking.missing()


class Recorder:
    """Stands in for wandb.init and the run it gives."""

    def __init__(self, fail_in=()):
        self.fail_in, self.modes, self.logged, self.summary, self.options = fail_in, [], [], {}, {}
        self.artifacts = {}

    def __call__(self, mode, **options):
        self.modes.append(mode)
        self.options = options
        if mode in self.fail_in:
            raise wandb.errors.CommError("no network\nand more")
        return self

    def define_metric(self, *names, **options):
        pass

    def log(self, values):
        self.logged.append(values)

    def log_artifact(self, artifact):
        self.artifacts[artifact.type] = sorted(artifact.manifest.entries)

    def finish(self, exit_code=0):
        self.exit_code = exit_code


@pytest.fixture
def recorder(monkeypatch):
    def install(**options):
        made = Recorder(**options)
        monkeypatch.setattr(wandb, "init", made)
        return made

    return install


def test_rows_are_copied(tmp_path, monkeypatch, a_run, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    made, (run, evaluations) = recorder(), a_run()
    tracking.mirror(run, evaluations, tmp_path)
    assert made.modes == ["offline"]
    assert made.logged == list(tracking.curve(evaluations))
    assert made.summary["status"] == "completed"
    assert made.exit_code == 0
    assert made.options["id"] == run["run_id"]
    assert made.options["dir"] == str(tmp_path)
    assert made.options["config"]["config"] == {"rate": 3e-4, "density": {"noise": 0.1}}


def test_without_a_network_a_run_is_kept_offline(tmp_path, monkeypatch, a_run, recorder):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(tracking, "_unreachable", lambda address: None)
    made, (run, evaluations) = recorder(fail_in=("online",)), a_run()
    with pytest.warns(tracking.TrackingWarning, match="is kept offline: no network$"):
        tracking.mirror(run, evaluations, tmp_path)
    assert made.modes == ["online", "offline"]
    assert made.logged


def test_without_a_key_a_run_is_kept_offline(tmp_path, monkeypatch, a_run, recorder):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb, "login", lambda prompt: False)
    made, (run, evaluations) = recorder(), a_run()
    tracking.mirror(run, evaluations, tmp_path)
    assert made.modes == ["offline"]


def test_no_trouble_stops_a_run(tmp_path, monkeypatch, a_run, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    recorder(fail_in=("offline",))
    with pytest.warns(tracking.TrackingWarning, match="is not mirrored to wandb: CommError: no network and more$"):
        tracking.mirror(*a_run(), tmp_path)


def test_the_real_package_writes_an_offline_run(tmp_path, monkeypatch, a_run):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracking.mirror(*a_run(), tmp_path)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_a_cell_under_way_has_a_line_for_every_seed(tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (cell,) = cells("bc", seeds=(0, 3), **{"fit.steps": 20, "fit.check_every": 10})
    made = recorder()
    runner.run_cell(cell, Settings(tmp_path, live=True))
    assert (made.options["group"], made.options["job_type"]) == ("inverted-pendulum-bc-d1", "live")
    _, averages = Store(tmp_path).averages()
    final = averages[averages["final"]]["return"].tolist()
    assert [made.logged[-1][f"return/seed {seed}"] for seed in (0, 3)] == pytest.approx(final)
    assert made.logged[-1]["step"] == 0
    assert made.exit_code == 0


def test_what_goes_wrong_with_a_curve_under_way_is_a_warning(tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    recorder(fail_in=("offline",))
    cell = SimpleNamespace(
        cell_id="one", first=SimpleNamespace(task=SimpleNamespace(name="hopper"), method="bc", demos=1)
    )
    with pytest.warns(tracking.TrackingWarning, match="one-live is not mirrored to wandb"):
        live = tracking.Live(cell, tmp_path)
    live.tell(SimpleNamespace(steps=1, updates=1, alive=[0]))
    live.close()


def test_the_page_and_the_films_are_artifacts(tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "my results"
    (folder / "films").mkdir(parents=True)
    (folder / "report.html").write_text("page")
    (folder / "films" / "one.webp").write_bytes(b"film")
    (folder / "films" / "link.webp").symlink_to("/etc/passwd")
    made = recorder()
    tracking.share(folder)
    assert made.artifacts == {"report": ["report.html"], "films": ["one.webp"]}
    assert (made.options["id"], made.options["job_type"]) == ("report-my-results", "report")
