"""Changing, hashing and describing configs; profiles and their mistakes."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import pytest

from benchmarks.kit.bounds import Count, Positive, Rate, Share, Sizes
from benchmarks.kit.errors import UserError
from benchmarks.plan import profiles, registry
from benchmarks.plan.configuration import as_json, assign, config_hash, configure, describe, settings


@dataclass(frozen=True)
class Base:
    rate: float = 0.5
    """Inherited,
    over two lines."""


@dataclass(frozen=True)
class Inner(Base):
    size: int = 3
    """A size."""
    silent: bool = False


@dataclass(frozen=True)
class Bounded:
    steps: Count = 3
    sizes: Sizes = (4,)
    share: Share = 0.5
    rate: Rate = 1.0
    temperature: Positive | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    kind: Literal["this", "that"] = "this"


@dataclass(frozen=True)
class Unbounded:
    steps: int = 3
    sizes: tuple[int, ...] = (4,)
    share: float = 0.5
    rate: float = 1.0
    temperature: float | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    kind: str = "this"


@dataclass(frozen=True)
class Outer:
    inner: Base = field(default_factory=Inner)
    """A group."""
    widths: tuple[int, ...] = (4, 5)
    """Widths."""
    target: float | None = 1.0
    """A target."""
    name: str = "x"


CONFIG = Outer()


def test_nested_fields_change_by_dotted_names():
    changed = configure(CONFIG, {"inner.size": 7, "inner.rate": 2, "widths": [1, 2, 3], "target": None, "name": "7"})
    assert changed == Outer(Inner(rate=2.0, size=7), (1, 2, 3), None, "7")
    assert isinstance(changed.inner.rate, float)
    assert configure(CONFIG, {"target": "none"}).target is None
    assert Outer() == CONFIG


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner.size": "abc"}, r"method m: inner.size must be int, not 'abc'"),
        ({"inner.size": "7"}, r"must be int, not '7'"),
        ({"inner.size": 2.5}, r"must be int, not 2.5"),
        ({"inner.size": True}, r"must be int, not True"),
        ({"inner.silent": 1}, r"must be bool, not 1"),
        ({"widths": [1, "b"]}, r"widths must be tuple\[int, ...\], not \(1, 'b'\)"),
        ({"target": "abc"}, r"target must be float \| None, not 'abc'"),
        ({"inner.sise": 1}, r"has no setting inner.sise: did you mean inner.size\? there are inner.rate, inner.size"),
        ({"wid": 1}, r"did you mean widths\?"),
        ({"inner": 1}, r"inner is a group of settings; change one of inner.rate, inner.size, inner.silent"),
        ({"name.x": 1}, r"no setting name.x: name has no parts"),
    ],
)
def test_mistakes_name_the_field_the_value_and_the_type(change, message):
    with pytest.raises(UserError, match=message):
        configure(CONFIG, change, "method m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -5}, "m: steps must be int >= 1, not -5"),
        ({"steps": 0}, "m: steps must be int >= 1, not 0"),
        ({"sizes": []}, r"m: sizes must be tuple[int >= 1, ...] of at least 1, not ()"),
        ({"sizes": [8, 0]}, r"m: sizes must be tuple[int >= 1, ...] of at least 1, not (8, 0)"),
        ({"share": 7}, "m: share must be float >= 0, <= 1, not 7"),
        ({"rate": 0}, "m: rate must be float > 0, <= 1, not 0"),
        ({"temperature": -0.1}, "m: temperature must be float > 0 | None, not -0.1"),
        ({"pair": [1.0]}, "m: pair must be tuple[float, float], not (1.0,)"),
        ({"kind": "other"}, """m: kind must be "this" or "that", not 'other'"""),
    ],
)
def test_bounds_are_told(change, message):
    with pytest.raises(UserError) as refused:
        configure(Bounded(), change, "m")
    assert str(refused.value) == message


def test_bounds_let_pass_what_they_allow_and_change_no_hash():
    allowed = {"steps": 1, "sizes": [1, 2], "share": 0, "rate": 1, "temperature": 0.1, "kind": "that"}
    assert configure(Bounded(), allowed) == Bounded(1, (1, 2), 0.0, 1.0, 0.1, (0.0, 1.0), "that")
    assert config_hash(configure(Bounded(), allowed)) == config_hash(configure(Unbounded(), allowed))
    assert settings(Bounded()) == settings(Unbounded())


def test_json_is_canonical_and_the_hash_is_its_sha256():
    text = '{"inner":{"rate":0.5,"silent":false,"size":3},"name":"x","target":1,"widths":[4,5]}'
    assert as_json(CONFIG) == text
    assert config_hash(CONFIG) == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert as_json(replace(CONFIG, target=1)) == text  # 1 and 1.0 are the same setting


def test_a_setting_that_came_later_is_no_part_of_a_run_at_the_value_it_stood_for():
    @dataclass(frozen=True)
    class Grown(Inner):
        LATER: ClassVar = {"bonus": 1.0}
        bonus: float = 2.0

    before = as_json(replace(CONFIG, inner=Inner()))
    assert as_json(replace(CONFIG, inner=Grown(bonus=1.0))) == before
    assert as_json(replace(CONFIG, inner=Grown())) == before.replace('"rate"', '"bonus":2,"rate"')


def test_describe_reads_the_docstrings_below_the_fields():
    described = {setting.name: setting for setting in describe(CONFIG)}
    assert list(described) == ["inner.rate", "inner.size", "inner.silent", "widths", "target", "name"]
    assert described["inner.rate"].description == "Inherited, over two lines."
    assert described["inner.size"] == ("inner.size", "int", 3, "A size.")
    assert described["inner.silent"].description == ""
    assert described["target"].type == "float | None"
    assert settings(CONFIG)["widths"] == (4, 5)


@dataclass(frozen=True)
class Span:
    """A config that checks itself."""

    low: float = 0.0
    """Its lower end."""
    high: float = 1.0
    """Its upper end."""

    def __post_init__(self):
        if self.low >= self.high:
            raise ValueError("low must be below high")


@dataclass(frozen=True)
class Holder:
    """Holds one."""

    span: Span = field(default_factory=Span)


def test_changes_are_made_together_and_a_configs_own_check_is_told():
    assert configure(Span(), {"low": 5.0, "high": 9.0}) == Span(5.0, 9.0)
    assert configure(Holder(), {"span.low": 5, "span.high": 9}) == Holder(Span(5.0, 9.0))
    with pytest.raises(UserError, match=r"^m: span.low = 5.0 is refused: low must be below high$"):
        configure(Holder(), {"span.low": 5.0}, "m")


def test_assign_does_not_check():
    assert assign(CONFIG, "inner.rate", (1.0, 2.0)).inner.rate == (1.0, 2.0)


# ---------------------------------------------------------------------------------------------------------- profiles


def test_the_suites_profiles_are_valid():
    assert {"paper", "quick", "smoke"} <= set(profiles.names())
    for profile in map(profiles.load, profiles.names()):
        assert profile.description
        assert registry.find_methods(profile.methods)
        assert registry.find_tasks(profile.tasks)


def test_the_papers_table_has_seeds_of_its_own():
    """Settings are chosen on seeds below 10 (benchmarks/protocol.md)."""
    paper, rivals = profiles.load("paper"), profiles.load("paper-rivals")
    assert paper.demos == rivals.demos == (1,)
    assert paper.steps == rivals.steps
    assert set(rivals.seeds) <= set(paper.seeds)
    theirs = registry.find_tasks(paper.tasks)
    axes = [profiles.load(name) for name in ("demonstrations", "subsampled")]
    assert all(set(axis.seeds) <= set(paper.seeds) for axis in axes)
    shown = ("paper", "paper-rivals", "demonstrations", "subsampled")
    others = [profiles.load(name) for name in profiles.names() if name not in shown]
    others = [profile for profile in others if any(task in theirs for task in registry.find_tasks(profile.tasks))]
    assert min(paper.seeds) == 10 > max(seed for profile in others for seed in profile.seeds)


def test_numbers():
    assert profiles.numbers("0-4,7, 9") == (0, 1, 2, 3, 4, 7, 9)
    assert profiles.numbers("3,1-3") == (3, 1, 2)
    assert profiles.numbers(5) == (5,)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_a_profile_of_ones_own(written):
    mine = profiles.load(
        written('tasks=["hopper"]\nmethods="bc,gail"\nseeds="0-2"\n[steps]\nhopper=9\n[overrides.bc]\nfit.steps=3\n')
    )
    assert (mine.name, mine.methods, mine.seeds) == ("mine", ("bc", "gail"), (0, 1, 2))
    assert mine.steps == {"hopper": 9}
    assert mine.overrides == {"bc": {"fit.steps": 3}}


BASE = 'tasks=["hopper"]\nmethods=["bc"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks = [", "mine.toml is no TOML"),
        ("methods = ['bc']", "mine.toml: tasks is missing"),
        (BASE + "seed = 1", "seed is no field of a profile: did you mean seeds"),
        (BASE + "seeds = '4-1'", r'seeds: expected numbers such as "0-4,7" \(given: \'4-1\'\)'),
        (BASE + "seeds = []", "seeds: expected at least one"),
        (BASE + "seeds = [-1]", r"seeds: expected a number from 0 \(given: -1\)"),
        (BASE + "demos = [0]", r"demos: expected a number from 1 \(given: 0\)"),
        (BASE + "steps = 0", "steps: expected a positive number of environment steps"),
        (BASE + "steps = {hopper = 'x'}", "steps: expected a positive number of environment steps"),
        (BASE + "eval_episodes = 2.5", "eval_episodes: expected a whole number"),
        (BASE + "name = 'other'", "named after its file"),
        (BASE + "[sweep.bc]\nfit.steps = 3", "sweep.bc.fit.steps: .*list"),
    ],
)
def test_malformed_profiles_name_file_and_field(written, text, message):
    with pytest.raises(UserError, match=message):
        profiles.load(written(text))


def test_unknown_profiles():
    with pytest.raises(UserError, match=r"unknown profile quik: did you mean quick\?"):
        profiles.load("quik")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        profiles.load("nowhere/mine.toml")


def test_changes_from_the_command_line_are_validated():
    quick = profiles.load("quick")
    assert quick.changed(seeds="5", tasks=None).seeds == (5,)
    assert quick.changed(seeds="5").tasks == quick.tasks
    with pytest.raises(UserError, match=r"--eval-episodes: expected a number from 1"):
        quick.changed(eval_episodes=0)
