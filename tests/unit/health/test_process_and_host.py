"""What is read of process and host is what psutil reads; what the kernel does not tell is missing."""

import os
import shutil
import subprocess
import threading
from collections import namedtuple

import psutil
import pytest

from tradewatch.health import host, process
from tradewatch.health.proc import PROC

ME = psutil.Process()


def uptime():
    return float((PROC / "uptime").read_text().split()[0])


ON_LINUX = pytest.mark.skipif(not PROC.exists(), reason="there is no /proc here")


def bracketed(before, found, after, slack=0.0):
    """Of a value that only grows: it was read between two readings of it."""
    assert before.keys() <= found.keys()
    for key, value in before.items():
        assert value - slack <= found[key] <= after[key] + slack, key


def cpu_of_process():
    used = ME.cpu_times()
    return {("process.cpu.time", "user"): used.user, ("process.cpu.time", "system"): used.system}


def test_cpu_time_of_the_process(told):
    # psutil has it in ticks of 10 ms.
    bracketed(cpu_of_process(), told(process.cpu()), cpu_of_process(), slack=0.021)


@ON_LINUX
def test_memory_of_the_process(told):
    before, found, after = ME.memory_info(), told(process.memory(PROC)), ME.memory_info()
    room = 64 << 20
    for name, low, high in (("usage", before.rss, after.rss), ("virtual", before.vms, after.vms)):
        assert min(low, high) - room <= found["process.memory." + name,] <= max(low, high) + room
    held = bytearray(b"x" * (256 << 20))
    assert told(process.memory(PROC))["process.memory.usage",] - found["process.memory.usage",] > 128 << 20
    del held


@ON_LINUX
def test_open_files_are_counted_without_the_one_that_it_takes_to_look(told, until):
    with open(os.devnull) as _, open(os.devnull) as _:
        # psutil counts that one; another thread may open or close a file between the two.
        until(lambda: told(process.files(PROC)) == {("process.unix.file_descriptor.count",): ME.num_fds() - 1})


@ON_LINUX
def test_threads_and_age(told, until):
    before = told(process.life(PROC))
    going = threading.Event()
    threads = [threading.Thread(target=going.wait) for _ in range(3)]
    for each in threads:
        each.start()
    until(lambda: told(process.life(PROC))["process.thread.count",] == ME.num_threads() >= 4)
    now = told(process.life(PROC))
    going.set()
    for each in threads:
        each.join()
    assert now["process.uptime",] >= before["process.uptime",] > 0
    # psutil's start rests on the second in which the host was started.
    since_boot = ME.create_time() - psutil.boot_time()
    low, found, high = uptime(), told(process.life(PROC))["process.uptime",], uptime()
    assert low - since_boot - 2 <= found <= high - since_boot + 2


@ON_LINUX
def test_disk_of_the_process(told):
    def theirs():
        found = ME.io_counters()
        return {("process.disk.io", "read"): found.read_bytes, ("process.disk.io", "write"): found.write_bytes}

    bracketed(theirs(), told(process.disk(PROC)), theirs())


@ON_LINUX
def test_cpu_time_of_the_host(told):
    def theirs():
        used = psutil.cpu_times()
        found = {("system.cpu.time", n): getattr(used, n) for n in ("user", "nice", "system", "iowait", "steal")}
        return found | {("system.cpu.time", "interrupt"): used.irq + used.softirq}

    before, found, after = theirs(), told(host.cpu(PROC)), theirs()
    # The kernel lets the times of waiting shrink at times.
    for moving in (before, after):
        moving.pop(("system.cpu.time", "iowait"))
    bracketed(before, found, after, slack=0.02)
    assert found["system.cpu.time", "idle"] > 0


@ON_LINUX
def test_memory_of_the_host(told):
    found, theirs = told(host.memory(PROC)), psutil.virtual_memory()
    assert found["system.memory.limit",] == theirs.total
    states = {key[1]: value for key, value in found.items() if key[0] == "system.memory.usage"}
    assert set(states) == {"used", "free", "buffers", "cached"}
    assert sum(states.values()) == theirs.total
    room = theirs.total / 10
    assert abs(states["free"] - theirs.free) < room
    assert abs(states["cached"] - theirs.cached) < room
    assert abs(found["system.memory.linux.available",] - theirs.available) < room


@ON_LINUX
def test_disks_without_their_partitions(told):
    def theirs():
        found = psutil.disk_io_counters(perdisk=True)
        whole = [n for n in found if os.path.exists(f"/sys/block/{n}") and not n.startswith(("loop", "ram", "zram"))]
        read = {("system.disk.io", "read", name): found[name].read_bytes for name in whole}
        return read | {("system.disk.io", "write", name): found[name].write_bytes for name in whole}

    before, found, after = theirs(), told(host.disks(PROC, host.BLOCKS)), theirs()
    assert before.keys() == found.keys()
    bracketed(before, found, after)


@ON_LINUX
def test_network_without_loopback(told):
    def theirs():
        found = {}
        for name, each in psutil.net_io_counters(pernic=True).items():
            if name != "lo":
                found["system.network.io", name, "receive"] = each.bytes_recv
                found["system.network.io", name, "transmit"] = each.bytes_sent
                found["system.network.errors", name, "receive"] = each.errin
                found["system.network.errors", name, "transmit"] = each.errout
        return found

    before, found, after = theirs(), told(host.network(PROC)), theirs()
    assert before.keys() == found.keys()
    bracketed(before, found, after)


def test_load_and_cpus(told):
    # The kernel reckons them anew every five seconds, which may be between the two looks.
    looks = ((os.getloadavg(), told(host.load()), os.getloadavg()) for _ in range(10))
    before, found = next((before, found) for before, found, after in looks if before == after)
    assert found["system.cpu.logical.count",] == psutil.cpu_count()
    names = [f"system.cpu.load_average.{n}" for n in ("1m", "5m", "15m")]
    assert list(found.items())[:3] == [((name,), value) for name, value in zip(names, before, strict=True)]


@ON_LINUX
def test_uptime_of_the_host(told):
    def theirs():
        return {("system.uptime",): uptime()}

    bracketed(theirs(), told(host.uptime(PROC)), theirs())


def test_room_on_the_file_systems_of_folders_each_once(told, tmp_path):
    there = host.FileSystems([tmp_path, tmp_path / "is" / "not" / "there", tmp_path])
    found, theirs = told(there.room()), shutil.disk_usage(tmp_path)
    points = {key[1] for key in found}
    assert len(points) == 1
    [point] = points
    assert os.path.ismount(point)
    assert os.stat(point).st_dev == os.stat(tmp_path).st_dev
    assert found["system.filesystem.limit", point] == theirs.total
    states = {key[2]: value for key, value in found.items() if len(key) == 3}
    assert set(states) == {"used", "free", "reserved"}
    assert sum(states.values()) == theirs.total
    assert abs(states["free"] - theirs.free) < 1 << 30


def test_a_working_directory_that_was_removed_costs_the_others_nothing(told, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    folders = [host.Path(), host.Path("/")]
    assert {key[1] for key in told(host.FileSystems(folders).room())} == {"/"}


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="nothing can be mounted here")
def test_a_file_system_that_comes_and_goes_costs_the_others_nothing(told, tmp_path):
    place, there = tmp_path / "disk", host.FileSystems([host.Path("/"), tmp_path / "disk" / "logs"])

    def points():
        return {key[1] for key in told(there.room())}

    place.mkdir()
    before = points()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert points() == before | {str(place)}
        assert told(there.room())["system.filesystem.limit", str(place)] == 64 * 1024
    finally:
        subprocess.run(["umount", str(place)], check=True)
    place.rmdir()
    assert points() == points() == before


@ON_LINUX
def test_a_file_system_that_cannot_be_read_costs_the_others_nothing(told, monkeypatch):
    statvfs, there = os.statvfs, host.FileSystems([host.Path("/proc/self"), host.Path("/")])

    def broken(path):
        if path != "/":
            raise OSError("the disk is gone")
        return statvfs(path)

    monkeypatch.setattr(os, "statvfs", broken)
    assert {key[1] for key in told(there.room())} == {"/"}


OF_PROC = {
    "memory": process.memory, "life": process.life, "files": process.files, "disk": process.disk, "cpu": host.cpu,
    "host memory": host.memory, "network": host.network, "uptime": host.uptime,
}  # fmt: skip


@pytest.mark.parametrize("part", OF_PROC)
def test_without_proc_there_are_no_readings(part, empty):
    with pytest.raises(OSError, match="nowhere"):
        list(OF_PROC[part](empty))


def test_without_sys_there_are_no_disks(empty):
    with pytest.raises(OSError, match="nowhere"):
        list(host.disks(PROC, empty))


Case = namedtuple("Case", "part file text")


@pytest.mark.parametrize(
    "case",
    [
        Case(host.cpu, "stat", "intr 1 2 3\n"), Case(host.cpu, "stat", "cpu  1 2\n"), Case(host.memory, "meminfo", ""),
        Case(host.memory, "meminfo", "MemTotal: 5 kB\nMemFree: 1 kB\n"), Case(process.disk, "self/io", "rchar: 5\n"),
        Case(process.life, "self/stat", "5 (a) S 1"), Case(process.memory, "self/statm", ""),
    ],
)  # fmt: skip
def test_another_format_is_said_and_never_zero(case, fake_proc):
    fake_proc.write(case.file, case.text)
    with pytest.raises(ValueError, match=r"."):
        list(case.part(fake_proc.folder))


def test_a_kernel_that_does_not_estimate_what_is_available(fake_proc, told):
    fake_proc.write("meminfo", "MemTotal: 10 kB\nMemFree: 1 kB\nBuffers: 2 kB\nCached: 3 kB\nHugePages_Total: 0\n")
    assert told(host.memory(fake_proc.folder)) == {
        ("system.memory.usage", "used"): 4096, ("system.memory.usage", "free"): 1024,
        ("system.memory.usage", "buffers"): 2048, ("system.memory.usage", "cached"): 3072,
        ("system.memory.limit",): 10240,
    }  # fmt: skip
