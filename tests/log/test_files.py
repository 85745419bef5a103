"""Directories that are durable when they are made."""

from __future__ import annotations

from holdfast.log import files


def test_every_new_name_is_synced_in_its_parent(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    files.make_directories(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    files.make_directories(tmp_path / "a")
    assert len(synced) == 3
