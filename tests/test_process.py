"""Who runs, and who is certainly gone."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from holdfast import process
from holdfast.process import Owner


def test_this_process_is_not_gone():
    me = process.this_process()
    assert (me.host, me.pid) == (os.uname().nodename, os.getpid())
    assert not process.is_gone(me)


def test_a_process_of_another_host_cannot_be_judged():
    assert not process.is_gone(Owner("elsewhere", 1, "x"))


def test_a_process_that_has_ended_is_gone_and_its_zombie_too():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = process._start_time(child.pid)
        owner = Owner(os.uname().nodename, child.pid, started or "")
        assert not process.is_gone(owner)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if sys.platform == "linux":
            assert process._start_time(child.pid) is None  # a zombie
    assert process.is_gone(owner)


def test_a_pid_that_was_used_again_is_another_process():
    me = process.this_process()
    assert process.is_gone(msgspec.structs.replace(me, started="long ago"))
    assert not process.is_gone(msgspec.structs.replace(me, started=""))


def test_without_proc_the_start_time_comes_from_ps(monkeypatch, tmp_path):
    ps = tmp_path / "ps"
    ps.write_text("#!/bin/sh\necho '  Sat Nov 21 04:18:00 2026  '\n")
    ps.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert process._start_time_by_ps(os.getpid()) == "Sat Nov 21 04:18:00 2026"
    ps.write_text("#!/bin/sh\nexit 1\n")
    assert process._start_time_by_ps(os.getpid()) is None
    monkeypatch.setenv("PATH", "")
    assert process._start_time_by_ps(os.getpid()) is None


@pytest.mark.parametrize(("error", "exists"), [(ProcessLookupError, False), (PermissionError, True), (None, True)])
def test_whether_a_pid_exists(monkeypatch, error, exists):
    def kill(pid, signal):
        if error:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    assert process._exists(5) is exists
    monkeypatch.setattr(process, "_start_time", lambda pid: None)
    assert process.is_gone(Owner(os.uname().nodename, 5)) is not exists
