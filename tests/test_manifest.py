import pytest

from benchmarks.data import manifest
from benchmarks.experts import FOLDER, model_card
from benchmarks.kit.errors import UserError

METADATA = {
    "dataset_id": "ndi/hopper/expert-v0",
    "content_hash": "abc",
    "policy_sha256": "123",
    "total_episodes": 25,
    "mean_return": 3300.0,
    "versions": {"mujoco": "4.0.0", "cpu": "AVX2"},
    "author": ["not recorded"],
}


@pytest.fixture
def path(tmp_path):
    manifest.record("hopper", METADATA, tmp_path / "manifest.json")
    return tmp_path / "manifest.json"


def test_entries_are_kept_in_the_order_of_the_tasks(path):
    manifest.record("ant", METADATA, path)
    manifest.record("halfcheetah", METADATA, path)
    assert list(manifest.read(path)) == ["hopper", "halfcheetah", "ant"]
    assert set(manifest.read(path)["hopper"]) == set(manifest.RECORDED)


def test_the_same_content_is_no_difference_whatever_made_it(path):
    assert manifest.difference("hopper", METADATA, path) == ""
    assert manifest.difference("hopper", {**METADATA, "versions": {"mujoco": "3.3.0"}}, path) == ""


def test_another_expert_or_task_has_nothing_to_be_compared_with(path):
    assert manifest.difference("ant", {**METADATA, "content_hash": "xyz"}, path) == ""
    assert manifest.difference("hopper", {**METADATA, "content_hash": "xyz", "policy_sha256": "456"}, path) == ""


def test_other_versions_are_named_with_the_difference_in_return(path):
    changed = {**METADATA, "content_hash": "xyz", "mean_return": 3100.0, "versions": {"mujoco": "3.3.0", "cpu": "AVX2"}}
    difference = manifest.difference("hopper", changed, path)
    assert difference == (
        "differs from the published one: mean return 3100.0 instead of 3300.0, built with mujoco 3.3.0 "
        "(published: 4.0.0)"
    )


def test_other_content_with_the_same_versions_is_an_error(path):
    with pytest.raises(UserError, match="content xyz, published is abc, with the same expert and versions"):
        manifest.difference("hopper", {**METADATA, "content_hash": "xyz"}, path)


def test_the_published_manifest_covers_every_shipped_expert():
    entries = manifest.read()
    assert set(entries) == {file.stem for file in FOLDER.glob("*.safetensors")}
    for name, entry in entries.items():
        assert entry["policy_sha256"] == model_card(name)["sha256"]
        assert entry["total_episodes"] == 25
