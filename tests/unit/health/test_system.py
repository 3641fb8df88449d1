"""Looks: what fails is left out of one, and what was seen is not told for longer than it holds."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tradewatch import status
from tradewatch.health import GcPauses, LogFiles, Loops, System, WatchedProcesses, system
from tradewatch.telemetry.cardinality import Cardinality
from tradewatch.telemetry.cell import Cells


def made(folder=Path("/proc"), blocks=Path("/sys/block"), **changes):
    parts = {
        "folders": [Path("/")], "logs": LogFiles([]), "processes": WatchedProcesses([], [], folder),
        "loops": Loops(list, str), "pauses": GcPauses(Cells()), "bounded": Cardinality().bounded,
        "folder": folder, "blocks": blocks,
    }  # fmt: skip
    return System(**parts | changes)


def said(found):
    return msgspec.structs.astuple(status.system(found))


def names(found):
    return {each.metric.name for each in found.readings()}


ON_EVERY_UNIX = {
    "process.cpu.time", "cpython.gc.collections", "cpython.gc.collected_objects", "cpython.gc.uncollectable_objects",
    "system.cpu.load_average.1m", "system.cpu.load_average.5m", "system.cpu.load_average.15m",
    "system.cpu.logical.count", "system.filesystem.usage", "system.filesystem.limit",
}  # fmt: skip


async def test_without_proc_there_is_what_every_unix_tells(empty):
    found = made(empty, empty)
    assert names(found) == set()
    await found.look()
    assert names(found) == ON_EVERY_UNIX
    assert found.memory_bytes is None


async def test_one_file_that_may_not_be_read_costs_what_stands_in_it(fake_proc):
    fake_proc.write("meminfo", "MemTotal: 10 kB\nMemFree: 1 kB\nBuffers: 2 kB\nCached: 3 kB\n")
    found = made(fake_proc.folder, Path("/nowhere"))
    await found.look()
    assert names(found) - ON_EVERY_UNIX == {
        "system.cpu.time", "system.memory.usage", "system.memory.limit", "system.uptime"
    }  # fmt: skip


async def test_a_file_in_another_format_is_a_failure_of_ours_that_costs_nothing_else(fake_proc, lenient):
    fake_proc.write("stat", "cpu what is this\n")
    found = made(fake_proc.folder, Path("/nowhere"))
    await found.look()
    assert names(found) - ON_EVERY_UNIX == {"system.uptime"}
    assert lenient == {"system": 1}


async def test_what_was_seen_long_ago_is_not_how_things_are(monkeypatch, fake_proc, tmp_path):
    log = tmp_path / "bot.log"
    log.write_text("line")
    found = made(logs=LogFiles([str(log)]), processes=WatchedProcesses(["init"], [], fake_proc.folder))
    await found.look()
    await found.look()
    assert names(found) >= ON_EVERY_UNIX
    assert said(found)[3:] == ({str(log): 4}, {"init": True})
    monkeypatch.setattr(system, "_OLD_NS", 0)
    assert names(found) == set()
    assert said(found) == (None, None, {}, {str(log): None}, {"init": None})


async def test_cpu_is_what_was_used_between_two_looks():
    found = made()
    await found.look()
    assert found.cpu is None
    await found.look()
    assert found.cpu > 0


async def test_a_device_too_many_is_added_to_the_others(fake_proc, tmp_path):
    lines = [f"   8 {n} d{n:02} 1 0 {n} 0 1 0 2 0 0 0 0\n" for n in range(25)]
    fake_proc.write("diskstats", "".join(lines))
    for n in range(25):
        (tmp_path / "block" / f"d{n:02}").mkdir(parents=True)
    found = made(fake_proc.folder, tmp_path / "block")
    await found.look()
    seen = {each.attributes: each.value for each in found.readings() if each.metric.name == "system.disk.io"}
    assert len(seen) == 21 * 2
    others = (("disk.io.direction", "read"), ("system.device", "_OTHER"))
    assert seen[others] == sum(range(20, 25)) * 512


async def test_looks_go_on_until_the_end(monkeypatch):
    monkeypatch.setattr(system, "EVERY_S", 0.01)
    found, ending, looks = made(), asyncio.Event(), []

    async def look():
        looks.append(1)
        if len(looks) == 3:
            ending.set()

    monkeypatch.setattr(found, "look", look)
    await asyncio.wait_for(found.run(ending), 30)
    assert len(looks) == 3


async def test_other_tasks_run_between_the_processes_that_are_looked_at(fake_proc, monkeypatch):
    for pid in range(100, 150):
        fake_proc.process(pid, "sh")
    monkeypatch.setattr(system, "_STRETCH_NS", 0)
    found = made(fake_proc.folder, processes=WatchedProcesses(["postgres"], [], fake_proc.folder))
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await found.look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert turns > 50
