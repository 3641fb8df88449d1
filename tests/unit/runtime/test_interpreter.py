"""A free-threaded interpreter is refused before anything is begun."""

import sys

import pytest

import tradewatch


def test_a_free_threaded_interpreter_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(RuntimeError, match="PYTHON_GIL=1"):
        tradewatch.instrument([], state_dir=tmp_path / "state", port=0)
    assert not (tmp_path / "state").exists()


def test_the_lock_may_be_on_in_a_free_threaded_build(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    assert tradewatch.instrument([], name="bot", state_dir=tmp_path / "state", port=0).status().safety_alive
