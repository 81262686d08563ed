"""Files are whole or absent, and damage is found."""

from __future__ import annotations

import pytest

from codellama_train import artifacts


def write_folder(path, text="hello"):
    with artifacts.new_folder(path) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text(text)
        artifacts.write_manifest(folder, {"made": "by a test"})


def test_a_finished_folder_verifies(tmp_path):
    write_folder(tmp_path / "x")
    manifest = artifacts.verify_manifest(tmp_path / "x")
    assert manifest["made"] == "by a test"
    assert list(manifest["files"]) == ["part/a.txt"]


def test_a_failed_writer_leaves_the_old_folder(tmp_path):
    write_folder(tmp_path / "x", "old")
    with pytest.raises(OSError, match="full"), artifacts.new_folder(tmp_path / "x") as folder:
        (folder / "a.txt").write_text("new")
        raise OSError("disk full")
    assert (tmp_path / "x/part/a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    write_folder(tmp_path / "x", "old")
    write_folder(tmp_path / "x", "new")
    assert (tmp_path / "x/part/a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("damage", ["hellO", "hello!", None])
def test_damage_is_found(tmp_path, damage):
    write_folder(tmp_path / "x")
    target = tmp_path / "x/part/a.txt"
    if damage is None:
        target.unlink()
    else:
        target.write_text(damage)
    with pytest.raises(artifacts.CorruptArtifact, match=r"a\.txt"):
        artifacts.verify_manifest(tmp_path / "x")


def test_a_folder_without_manifest_was_never_finished(tmp_path):
    (tmp_path / "x").mkdir()
    assert artifacts.read_manifest(tmp_path / "x") is None
    with pytest.raises(artifacts.CorruptArtifact, match="never finished"):
        artifacts.verify_manifest(tmp_path / "x")


def test_fingerprint_does_not_depend_on_key_order():
    assert artifacts.fingerprint({"a": 1, "b": [2]}) == artifacts.fingerprint({"b": [2], "a": 1})
    assert artifacts.fingerprint({"a": 1}) != artifacts.fingerprint({"a": 2})
