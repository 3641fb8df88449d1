"""The one setting that is a secret: given as it is, in a file, or by systemd; shown to nobody."""

import json
import os
import stat

import msgspec
import pytest
from click.testing import CliRunner

from tradewatch import given
from tradewatch.changes import Changes
from tradewatch.cli.config import config
from tradewatch.runtime.clock import SystemClock
from tradewatch.runtime.scrub import scrubber
from tradewatch.settings import sources
from tradewatch.settings.problems import SettingsError

TOKEN = "glc_tw7QmZk2PdV5sX8b"
HEADERS = f"authorization=Bearer%20{TOKEN},x-tenant=blue"


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch):
    monkeypatch.setattr(scrubber, "_secrets", ())


@pytest.fixture
def secret(tmp_path):
    def write(what=f"{HEADERS}\n", name="otlp", mode=0o600):
        path = tmp_path / name
        path.write_bytes(what if isinstance(what, bytes) else what.encode())
        path.chmod(mode)
        return path

    return write


def in_force(text=None, tmp_path=None, **environ):
    if text is None:
        return given.in_force(sources.read(environ=environ))
    (tmp_path / "t.yaml").write_text(text)
    return given.in_force(sources.read(config=tmp_path / "t.yaml", environ=environ))


def test_it_is_given_as_it_is_in_a_file_or_by_systemd(secret, tmp_path):
    path = secret()
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "tradewatch.otlp_headers").write_text(HEADERS)
    (folder / "tradewatch.otlp_headers").chmod(0o400)
    for chosen, origins in (
        (in_force(TRADEWATCH_OTLP_HEADERS=HEADERS), ["TRADEWATCH_OTLP_HEADERS", "default"]),
        (in_force(f"otlp_headers: '{HEADERS}'", tmp_path), [f"{tmp_path}/t.yaml:1", "default"]),
        (in_force("otlp_headers_file: otlp", tmp_path), ["default", f"{tmp_path}/t.yaml:1"]),
        (in_force(TRADEWATCH_OTLP_HEADERS_FILE=str(path)), ["default", "TRADEWATCH_OTLP_HEADERS_FILE"]),
        (in_force(CREDENTIALS_DIRECTORY=str(folder)), ["default", "CREDENTIALS_DIRECTORY"]),
    ):
        assert chosen.settings.otlp_headers == HEADERS
        assert [each.origin for each in chosen.listed if each.key.startswith("otlp_headers")] == origins
    named = in_force("otlp_headers_file: otlp", tmp_path, CREDENTIALS_DIRECTORY=str(folder))
    assert named.settings.otlp_headers_file == str(path)
    assert in_force(CREDENTIALS_DIRECTORY=str(tmp_path)).settings.otlp_headers is None


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (b"", "an empty file"),
        (b" \n\n", "an empty file"),
        (b"a=b\nc=d\n", "more than one line, or a character that cannot be printed"),
        (b"a=b\0c\n", "more than one line, or a character that cannot be printed"),
        (b"\xff\xfea\0=\0b\0", "text that is not UTF-8"),
        (b"a=" + b"x" * 8192, "more than 8,192 bytes"),
        (b"glc_tw7QmZk2PdV5sX8b", "what it holds is not accepted"),
    ],
)
def test_a_file_that_holds_none_is_told_without_what_it_holds(secret, tmp_path, what, said):
    secret(what)
    with pytest.raises(SettingsError) as caught:
        in_force("name: grid\notlp_headers_file: otlp", tmp_path)
    begins = f"{tmp_path}/t.yaml:2: otlp_headers_file '{tmp_path}/otlp': {said}; accepted: "
    cut = str(caught.value).replace("...", "")
    assert begins[:60] in cut
    assert f": {said}; accepted: " in cut
    assert "glc_" not in str(caught.value)


def test_line_ends_of_any_kind_and_a_mark_of_the_encoding_are_no_part_of_it(secret):
    for end in ("", "\n", "\r\n", " \n\n"):
        path = secret("\ufeff" + HEADERS + end)
        assert in_force(TRADEWATCH_OTLP_HEADERS_FILE=str(path)).settings.otlp_headers == HEADERS


def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/dev/fd")
    for name, what in (("pipe", "it is no file"), (".", "a file that cannot be read"), ("none", "No such file")):
        with pytest.raises(SettingsError, match=what):
            in_force(f"otlp_headers_file: {name}", tmp_path)
    assert len(os.listdir("/dev/fd")) == len(before)


def test_a_secret_that_every_user_can_read_is_warned_of(secret, caplog):
    in_force(TRADEWATCH_OTLP_HEADERS_FILE=str(secret()))
    assert caplog.messages == []
    path = secret(name="open", mode=0o644)
    assert in_force(TRADEWATCH_OTLP_HEADERS_FILE=str(path)).settings.otlp_headers == HEADERS
    assert caplog.messages == [f"the secret in {path} can be read by every user: chmod o-r {path}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_both_ways_at_once_are_refused(secret, tmp_path):
    path = secret()
    with pytest.raises(SettingsError) as caught:
        in_force(f"otlp_headers_file: {path}", tmp_path, TRADEWATCH_OTLP_HEADERS=HEADERS)
    assert str(caught.value).endswith(": otlp_headers is given too, by TRADEWATCH_OTLP_HEADERS; accepted: one of both")
    chosen, lost = given.as_far_as_right(
        sources.read(config=tmp_path / "t.yaml", environ={"TRADEWATCH_OTLP_HEADERS": HEADERS})
    )
    assert chosen.settings.otlp_headers == HEADERS
    assert ["IS NOT IN FORCE" in each for each in lost] == [True]


def test_without_code_a_file_that_cannot_be_used_is_left_out_and_said(tmp_path):
    layers = sources.read(environ={"TRADEWATCH_OTLP_HEADERS_FILE": str(tmp_path / "none"), "TRADEWATCH_NAME": "grid"})
    chosen, [lost] = given.as_far_as_right(layers)
    assert (chosen.settings.otlp_headers, chosen.settings.otlp_headers_file) == (None, None)
    assert chosen.settings.name == "grid"
    assert "otlp_headers_file" in lost
    assert "IS NOT IN FORCE" in lost


def test_nobody_is_shown_it(secret, tmp_path):
    (tmp_path / "t.yaml").write_text(f"otlp_headers: '{HEADERS}'\n")
    shown = [CliRunner().invoke(config, ["check", str(tmp_path / "t.yaml"), *more]) for more in ([], ["--json"])]
    assert [done.exit_code for done in shown] == [0, 0]
    listed = {each["key"]: each["value"] for each in json.loads(shown[1].stdout)["settings"]}
    assert listed["otlp_headers"] == "***"
    (tmp_path / "wrong.yaml").write_text(f"otlp_headers: {TOKEN}\n")
    shown += [CliRunner().invoke(config, ["check", str(tmp_path / "wrong.yaml"), *more]) for more in ([], ["--json"])]
    assert [done.exit_code for done in shown[2:]] == [1, 1]
    assert "wrong.yaml:1:15: otlp_headers ***; accepted: name=value, several with commas between" in shown[2].stderr
    chosen = in_force(f"otlp_headers: '{HEADERS}'", tmp_path)
    written = str(msgspec.json.encode(chosen.listed)) + repr(chosen) + "".join(done.output for done in shown)
    written += repr(in_force(TRADEWATCH_OTLP_HEADERS=HEADERS))
    written += repr(in_force(TRADEWATCH_OTLP_HEADERS_FILE=str(secret())))
    assert TOKEN not in written
    assert "Bearer" not in written
    # Wherever else it turns up; a tenant's name is no key.
    assert (
        scrubber.text(f"the collector says {TOKEN} is old, tenant blue") == "the collector says *** is old, tenant blue"
    )


def test_a_new_secret_takes_a_restart_and_keeps_no_other_change_away(secret, tmp_path):
    path = secret()
    started = in_force(f"otlp_headers_file: {path}\nlimits: {{drawdown: 0.2}}", tmp_path)
    kept = []
    changes = Changes(started, lambda chosen: None, kept.append, "grid", SystemClock())
    secret("authorization=Bearer%20another-token-altogether")
    (tmp_path / "t.yaml").write_text(f"otlp_headers_file: {path}\nlimits: {{drawdown: 0.3}}")
    assert changes.reread()
    path.unlink()
    changes.configure({"limits": {"drawdown": 0.4}})
    assert (changes.in_force.settings.otlp_headers, changes.in_force.limits["drawdown"]) == (HEADERS, 0.4)
    (tmp_path / "t.yaml").write_text("otlp_headers: 'authorization=Bearer another-token'")
    assert not changes.reread()
    assert "cannot change while the bot runs" in changes.refused
    assert "another-token" not in changes.refused
    assert [each.after for each in kept] == ["limits.drawdown 0.3", "limits.drawdown 0.4", "as it was"]
    assert "another-token" not in repr(kept)
