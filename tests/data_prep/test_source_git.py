"""Git checkouts and bare repositories as sources: real ones, made by git, among them hostile ones."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from reading import reading, source_of

from codellama_train.recipe.data_sources import Source
from data_prep.sources import git_objects
from data_prep.sources.git_objects import GitFailure, commit_of, commit_times, contents_of, files_at, git_folder_of

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software\n"
HOSTILE_CONFIGURATION = """
[log]
showSignature = true
[gpg]
program = PROGRAM
[core]
fsmonitor = PROGRAM
pager = PROGRAM
sshCommand = PROGRAM
[filter "evil"]
smudge = PROGRAM
[diff]
external = PROGRAM
[diff "evil"]
textconv = PROGRAM
command = PROGRAM
"""
OLD, NEW = 1_577_836_800, 1_609_459_200  # the beginnings of 2020 and 2021


def git(folder: Path, *arguments: str, time: int = OLD) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    dates = {"GIT_AUTHOR_DATE": f"{time} +0000", "GIT_COMMITTER_DATE": f"{time} +0000"}
    environment = {**os.environ, **identity, **dates, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def checkout(folder: Path) -> Path:
    """Make a checkout with two commits, of a file each."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "LICENSE").write_text(MIT)
    (folder / "old.py").write_text("x = 1\n")
    (folder / "pack").mkdir()
    (folder / "pack/new.py").write_text("y = 0\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "pack/new.py").write_text("y = 1\n")
    git(folder, "commit", "-qam", "second", time=NEW)
    return folder


def bare(folder: Path, origin: Path) -> Path:
    git(origin, "clone", "-q", "--bare", str(origin), str(folder))
    return folder


def folders(*paths: Path, **keys: object) -> Source:
    return source_of(kind="folders", paths=[str(path) for path in paths], **keys)


def test_files_of_a_checkout_have_the_time_of_their_last_commit(tmp_path):
    root = checkout(tmp_path / "mine")
    (root / "untracked.py").write_text("z = 1\n")
    read = reading(folders(root))
    times = {document.path: document.revision_time for document in read.documents}
    assert times == {"old.py": OLD, "pack/new.py": NEW, "untracked.py": None}
    assert read.facts == {"commits": {"mine": git(root, "rev-parse", "HEAD").strip()}}
    assert {document.license for document in read.documents} == {"MIT"}


def test_packages_inside_a_checkout_are_not_of_its_commit(tmp_path, monkeypatch):
    site = checkout(tmp_path / "project") / "site-packages"
    (site / "package").mkdir(parents=True)
    (site / "package/a.py").write_text("a = 1\n")
    monkeypatch.setattr("data_prep.sources.roots.sysconfig.get_path", lambda _: str(site))
    read = reading(source_of(kind="folders", paths=["{site_packages}"]))
    assert (read.only().repository, read.only().revision_time, read.facts) == ("package", None, {})


def test_commit_times_are_those_that_git_says_file_by_file(project):
    git_folder = git_folder_of(project)
    assert git_folder is not None
    commit = commit_of(git_folder)
    assert commit == git(project, "rev-parse", "HEAD").strip()
    tracked = [entry.path for entry in files_at(git_folder, commit)][::40]
    expected = {
        path: int(git(project, "log", "-1", "--format=%ct", "HEAD", "--", os.fsdecode(path))) for path in tracked
    }
    assert commit_times(git_folder, commit, tracked) == expected


def test_a_folder_inside_a_checkout_and_a_checkout_inside_a_folder_have_times_too(tmp_path):
    root = checkout(tmp_path / "outer")
    assert reading(folders(root / "pack")).only().revision_time == NEW
    checkout(tmp_path / "group/deep/deeper/inner")
    read = reading(folders(tmp_path / "group"))
    assert {(d.repository, d.path, d.revision_time) for d in read.documents} == {
        ("group/deep/deeper/inner", "deep/deeper/inner/old.py", OLD),
        ("group/deep/deeper/inner", "deep/deeper/inner/pack/new.py", NEW),
    }


def test_shallow_clones_and_linked_work_trees_are_read(tmp_path):
    root = checkout(tmp_path / "root")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{root}", "shallow")
    git(root, "worktree", "add", "-q", str(tmp_path / "linked"))
    for name, oldest in (("shallow", NEW), ("linked", OLD)):
        times = {document.path: document.revision_time for document in reading(folders(tmp_path / name)).documents}
        assert times == {"old.py": oldest, "pack/new.py": NEW}, name


def test_bare_repositories_are_read_without_a_work_tree(tmp_path):
    root = checkout(tmp_path / "root")
    bare(tmp_path / "mirrors/group/thing.git", root)
    read = reading(folders(tmp_path / "mirrors"))
    found = {d.path: (d.repository, d.license, d.revision_time, d.text) for d in read.documents}
    assert found == {
        "old.py": ("mirrors/group/thing", "MIT", OLD, "x = 1\n"),
        "pack/new.py": ("mirrors/group/thing", "MIT", NEW, "y = 1\n"),
    }
    assert read.facts["commits"] == {"mirrors/group/thing": git(root, "rev-parse", "HEAD").strip()}
    assert list(tmp_path.glob("mirrors/**/*.py")) == []
    whole = reading(folders(tmp_path / "mirrors/group/thing.git"))
    assert [d.repository for d in whole.documents] == ["thing", "thing"]


def test_a_revision_may_be_a_branch_a_tag_or_a_commit_packed_or_not(tmp_path):
    root = checkout(tmp_path / "root")
    git(root, "tag", "-a", "-m", "note", "v1", "HEAD~1")
    mirror = bare(tmp_path / "thing.git", root)
    first = git(root, "rev-parse", "HEAD~1").strip()
    for revision, text in (("v1", "y = 0\n"), (first, "y = 0\n"), ("main", "y = 1\n")):
        texts = {d.path: d.text for d in reading(folders(mirror, revision=revision)).documents}
        assert texts["pack/new.py"] == text, revision
    git(mirror, "pack-refs", "--all")
    assert reading(folders(mirror, revision="v1")).texts["thing:pack/new.py"] == "y = 0\n"
    assert reading(folders(mirror, revision="nope")).reasons == {"unreadable_repository": 1}
    assert reading(folders(mirror, revision="../../etc/passwd")).reasons == {"unreadable_repository": 1}


def test_links_submodules_notebooks_and_odd_names_in_a_bare_repository(tmp_path):
    root = checkout(tmp_path / "root")
    (root / "link.py").symlink_to("/etc/passwd")
    (root / "notes.ipynb").write_text("{}\n")
    (root / "vendor").mkdir()
    (root / "vendor/v.py").write_text("v = 1\n")
    (root / "big.py").write_text("#" * 2_000)
    (root / "empty.py").write_text("")
    (root / "large.py").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    Path(os.fsdecode(os.fsencode(root) + b"/odd\n\xff.py")).write_text("o = 1\n")
    git(root, "submodule", "add", "-q", str(checkout(tmp_path / "other")), "sub.py")
    git(root, "add", ".")
    git(root, "commit", "-qm", "more")
    mirror = bare(tmp_path / "m.git", root)
    read = reading(folders(mirror, exclude_folders=["vendor"], max_file_bytes=1_000))
    assert set(read.texts) == {"m:old.py", "m:pack/new.py", "m:odd\n\\xff.py", "m:.gitmodules"}
    assert read.reasons == {
        "link_in_repository": 1,
        "submodule": 1,
        "notebook": 1,
        "excluded_folder": 1,
        "huge": 1,
        "empty": 1,
        "lfs_pointer": 1,
        "other_kind_of_file": 1,  # LICENSE
    }


def test_paths_that_lead_out_of_a_hostile_tree_are_named(tmp_path):
    root = checkout(tmp_path / "root")
    blob = bytes.fromhex(git(root, "rev-parse", "HEAD:old.py").strip())
    tree = b"".join(b"100644 " + name + b"\0" + blob for name in (b"../up.py", b"/etc/abs.py", b"a.py"))
    (tmp_path / "tree").write_bytes(tree)
    written = git(root, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "tree")).strip()
    commit = git(root, "commit-tree", written, "-m", "hostile").strip()
    mirror = bare(tmp_path / "m.git", root)
    found = reading(folders(mirror, revision=commit))
    assert (set(found.texts), found.reasons) == ({"m:a.py"}, {"path_out_of_repository": 2})


def test_a_hostile_configuration_runs_nothing(tmp_path):
    """Each of these lines makes plain git run a program or read a file; a signed commit makes it check a signature."""
    root = checkout(tmp_path / "root")
    proof = tmp_path / "proof"
    program = tmp_path / "evil.sh"
    program.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    program.chmod(0o755)
    signed = git(root, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\n", 1
    )
    (tmp_path / "commit").write_text(signed)
    commit = git(root, "hash-object", "-t", "commit", "-w", "--literally", str(tmp_path / "commit")).strip()
    git(root, "update-ref", "HEAD", commit)
    (root / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    mirror = bare(tmp_path / "m.git", root)
    for folder in (mirror, root / ".git"):
        with (folder / "config").open("a") as config:
            config.write(HOSTILE_CONFIGURATION.replace("PROGRAM", str(program)))
    subprocess.run(["git", "log", "-1"], cwd=root, check=False, capture_output=True)
    assert proof.exists(), "the trap works on plain git"
    proof.unlink()
    for path in (mirror, root):
        assert len(reading(folders(path)).documents) == 2
    assert not proof.exists()


def test_damaged_and_empty_repositories_are_named(tmp_path):
    root = checkout(tmp_path / "root")
    mirror = bare(tmp_path / "mirrors/damaged.git", root)
    objects = [path for path in (mirror / "objects").rglob("*") if path.is_file()]
    for path in objects:
        path.chmod(0o600)
        path.write_bytes(b"nothing")
    git(tmp_path, "init", "-q", "--bare", "mirrors/empty.git")
    circle = bare(tmp_path / "mirrors/circle.git", checkout(tmp_path / "second"))
    (circle / "HEAD").write_text("ref: refs/heads/a\n")
    (circle / "refs/heads/a").write_text("ref: refs/heads/a\n")
    assert reading(folders(tmp_path / "mirrors")).reasons == {"unreadable_repository": 3}


def test_an_object_that_is_lost_is_named(tmp_path):
    root = checkout(tmp_path / "root")
    mirror = tmp_path / "m.git"
    shutil.copytree(root / ".git", mirror)  # loose objects
    lost = git(root, "rev-parse", "HEAD:old.py").strip()
    (mirror / "objects" / lost[:2] / lost[2:]).unlink()
    read = reading(folders(mirror))
    assert set(read.texts) == {"m:pack/new.py"}
    assert read.reasons == {"missing_object": 1, "other_kind_of_file": 1}
    with pytest.raises(GitFailure, match=lost):
        list(contents_of(mirror, commit_of(mirror), [lost]))


def test_without_git_checkouts_are_read_and_bare_repositories_named(tmp_path, monkeypatch, caplog):
    root = checkout(tmp_path / "all/root")
    bare(tmp_path / "all/m.git", root)
    monkeypatch.setenv("PATH", str(tmp_path))
    git_objects.has_git.cache_clear()
    with caplog.at_level(logging.WARNING):
        read = reading(folders(tmp_path / "all"))
    git_objects.has_git.cache_clear()
    assert {document.revision_time for document in read.documents} == {None}
    assert len(read.documents) == 2
    assert read.reasons["bare_repository_without_git"] == 1
    assert len([record for record in caplog.records if "git is not installed" in record.message]) == 1


def test_documentation_is_read_from_bare_repositories_too(tmp_path):
    root = checkout(tmp_path / "root")
    (root / "README.md").write_text("# A title\n\nSome words.\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "words")
    mirror = bare(tmp_path / "m.git", root)
    source = source_of(kind="documentation", paths=[str(mirror)], min_docstring_characters=10)
    assert reading(source).texts == {"m:README.md": "# A title\n\nSome words.\n"}


def test_documents_do_not_depend_on_where_tasks_are_cut(tmp_path, monkeypatch):
    root = checkout(tmp_path / "root")
    bare(tmp_path / "mirrors/m.git", root)
    whole = reading(folders(tmp_path / "mirrors", root))
    monkeypatch.setattr("data_prep.sources.folders.FILES_PER_TASK", 1)
    cut = reading(folders(tmp_path / "mirrors", root))
    assert len(cut.tasks) > len(whole.tasks)
    assert sorted(cut.documents, key=str) == sorted(whole.documents, key=str)
