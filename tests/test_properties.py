"""Properties that hold for whatever is thrown at the suite's parsers and its store."""

import json
import math
import re
import tempfile
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.kit.errors import UserError
from benchmarks.kit.sac import SACConfig
from benchmarks.plan import profiles
from benchmarks.plan.configuration import as_json, configure
from benchmarks.plan.configuration import settings as settings_of
from benchmarks.store.schema import STATUSES
from benchmarks.store.store import Store
from benchmarks.store.verification import verify

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


# --------------------------------------------------------------------------------------------------------- parsing


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), min_size=1, max_size=5))
def test_ranges_of_seeds_are_all_their_numbers_once_in_order(ranges):
    text = ", ".join(f"{low}-{low + more}" if more else str(low) for low, more in ranges)
    expected = [number for low, more in ranges for number in range(low, low + more + 1)]
    assert profiles.numbers(text) == tuple(dict.fromkeys(expected))


@given(st.text("0123456789-, ", max_size=20) | st.text(max_size=8))
@example("0-99999999999")
@example("0-99999,0-99999,5")
@example("٣")
def test_any_text_is_a_list_of_numbers_or_a_mistake(text):
    try:
        found = profiles.numbers(text)
    except ValueError as error:
        assert str(error).startswith("expected ")  # noqa: PT017 - either will do
    else:
        assert len(set(found)) == len(found) <= profiles.MOST_NUMBERS
        assert all(number >= 0 for number in found)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*profiles.Profile.model_fields, "surprise"]), VALUES, max_size=6))
def test_any_content_is_a_profile_or_one_line_that_names_the_field(content):
    where = []

    def name(field):
        where.append(field)
        return f"a file: {field}"

    try:
        profile = profiles._validated({"name": "mine", "tasks": ["hopper"], "methods": ["bc"], **content}, name)
    except UserError as error:
        assert where
        assert re.fullmatch("a file: .*", str(error))  # noqa: PT017 - either will do; and it is one line
    else:
        assert profile.changed() == profile


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b"\xff\xfe")
@example(b"a = [" * 2000)
@example(b"seeds = " + b"9" * 5000)
def test_any_file_is_a_profile_or_one_line_that_names_it(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^profile .*mine\.toml.*$"):  # tasks and methods are always missing
            profiles.load(str(path))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(settings_of(SACConfig()))), VALUES)
def test_any_value_of_a_setting_is_taken_or_refused_by_name(name, value):
    try:
        changed = configure(SACConfig(), {name: value}, "sac")
    except UserError as error:
        assert str(error).startswith(f"sac: {name} must ")  # noqa: PT017 - either will do
    else:
        assert json.loads(as_json(changed), parse_constant=pytest.fail)
        assert configure(SACConfig(), {name: settings_of(changed)[name]}) == changed


@given(NAMES, NAMES, SCALARS.filter(lambda value: not (isinstance(value, float) and math.isnan(value))))
def test_settings_of_the_command_line_are_read_as_toml_or_as_text(method, field, value):
    text = json.dumps(value)
    profile = profiles.load("smoke").with_settings([f"{method}.{field}={text}"])
    try:
        expected = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        expected = text
    assert profile.overrides[method][field] == expected


# ----------------------------------------------------------------------------------------------------------- the store

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
WHOLE = st.integers(0, 2**62)
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@st.composite
def stored_runs(draw):
    """A record and rows that the store takes."""
    shared = {
        "run_id": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._=+,-]{0,20}", fullmatch=True)),
        **{"method": draw(TEXT), "task": draw(TEXT), "demos": draw(WHOLE), "seed": draw(WHOLE)},
    }
    run = shared | {
        name: draw(TEXT) for name in ("label", "env_id", "profile", "config_hash", "device", "cpu", "started")
    }
    run |= {
        name: json.dumps(draw(st.dictionaries(TEXT, TEXT, max_size=2))) for name in ("config", "changes", "versions")
    }
    run |= {name: draw(st.none() | TEXT) for name in ("dataset_id", "dataset_hash", "dataset_notes", "commit", "error")}
    run |= {"audit": draw(st.none() | st.just('["a reason"]')), "policy_sha256": draw(st.none() | TEXT)}
    run |= {name: draw(WHOLE) for name in ("draw", "subsample", "lanes", "budget", "steps", "updates")}
    run |= {"privileged": draw(st.booleans()), "dirty": draw(st.booleans()), "status": draw(st.sampled_from(STATUSES))}
    run |= {
        "episode_ids": draw(st.lists(WHOLE, max_size=3)),
        "train_seconds": draw(FINITE),
        "eval_seconds": draw(FINITE),
    }
    keys = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), unique=True, max_size=8))
    rows = [
        shared
        | {"step": step, "update": update, "episode": episode, "eval_seed": draw(WHOLE), "length": draw(WHOLE)}
        | {"return": draw(FINITE), "normalized": draw(st.floats()), "final": draw(st.booleans())}
        | {"kl": draw(st.none() | FINITE), "kl_uniform": draw(st.none() | FINITE)}
        for step, update, episode in keys
    ]
    return run, rows


@settings(max_examples=60, deadline=None)
@given(stored_runs())
def test_whatever_is_stored_comes_back(stored):
    run, rows = stored
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        path = store.write(run, rows)
        assert store.status(run["run_id"]) == run["status"]
        (found,) = store.runs().to_dict("records")
        for name, value in run.items():
            same = list(found[name]) == value if name == "episode_ids" else found[name] == value
            assert same or (value is None and pd.isna(found[name])), name
        evaluations = store.evaluations()
        expected = pd.DataFrame(sorted(rows, key=lambda row: (row["step"], row["update"], row["episode"])))
        if rows:
            expected = expected[evaluations.columns].astype(evaluations.dtypes)
            pd.testing.assert_frame_equal(evaluations, expected, check_exact=True)
        assert len(store.averages()[1]) == len({(row["step"], row["update"], row["final"]) for row in rows})
        wrong = [finding.reason for finding in verify(store)[1] if finding.wrong]
        assert all("no final evaluation" in reason or "policy is not there" in reason for reason in wrong)

        path.rename(path.with_name("copy of another machine.parquet"))  # found by its content
        assert len(store.runs()) == 1


@settings(max_examples=60, deadline=None)
@given(stored_runs(), st.data())
def test_a_torn_file_is_never_counted(stored, data):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        path = store.write(*stored)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        assert store.status(stored[0]["run_id"]) is None
        with pytest.warns(UserWarning, match="is set aside"):
            assert store.runs().empty
        assert [finding.wrong for finding in verify(store)[1]] == [True]
