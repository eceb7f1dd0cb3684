"""A disk whose power a test can cut: an ext4 file system in an image file, and a copy of it taken without a flush.

What the file system still holds in memory is in no block of the image, so a copy of the blocks is what the disk has
when the power goes: fsynced files are there (after the journal's replay, as after a real cut), others are not. A disk
that acknowledges a flush it did not make is not imitated, nor are torn sectors.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SIZE = "512M"
_COMMIT = 600
"""Seconds between two commits of the journal that nobody asked for: none within a test."""
_CAP_SYS_ADMIN = 21
_PREENED = 1
"""``e2fsck`` ends with 0 or 1 when the file system is sound now."""


class Disk:
    """One file system; ``path`` is where it is mounted."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.image = image
        self.path = folder
        self._mounted = False

    @classmethod
    def new(cls, folder: Path) -> Disk:
        """An empty one, mounted at ``folder``; its image lies beside it. Raises CalledProcessError."""
        disk = cls(folder, folder.with_suffix(".img"))
        _run("truncate", "--size", _SIZE, str(disk.image))
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(disk.image))
        disk.mount()
        return disk

    def mount(self) -> None:
        """Make its files reachable."""
        self.path.mkdir(exist_ok=True)
        _run("mount", "-t", "ext4", "-o", f"loop,commit={_COMMIT},nodiscard", str(self.image), str(self.path))
        self._mounted = True

    def blocks(self, folder: Path) -> Disk:
        """What the disk holds now, nothing flushed: a second one, not mounted. Its writers must stand still."""
        copy = Disk(folder, folder.with_suffix(".img"))
        _run("cp", "--sparse=always", "--reflink=never", str(self.image), str(copy.image))
        return copy

    def power_on(self) -> None:
        """Replay the journal, look for damage, mount."""
        checked = subprocess.run(["e2fsck", "-p", str(self.image)], capture_output=True, text=True, check=False)
        assert checked.returncode <= _PREENED, checked.stdout + checked.stderr
        self.mount()

    def unmount(self) -> None:
        """Safe to call twice; whoever writes there must have ended."""
        if self._mounted:
            _run("umount", str(self.path))
            self._mounted = False


class Disks:
    """Those of one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Disk] = []

    def new(self, count: int = 1) -> list[Disk]:
        """So many empty disks."""
        made = []
        for _ in range(count):
            made.append(Disk.new(self._folder / f"disk{len(self._all)}"))
            self._all.append(made[-1])
        return made

    def copies(self, disks: list[Disk]) -> list[Disk]:
        """What these hold now, nothing flushed; not mounted."""
        made = []
        for disk in disks:
            made.append(disk.blocks(self._folder / f"disk{len(self._all)}"))
            self._all.append(made[-1])
        return made

    def end(self) -> None:
        """Unmount all."""
        for disk in self._all:
            disk.unmount()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stdout}{done.stderr}".strip())


def _may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disks]:
    """Makes disks, and takes them away again.

    Mounting needs root with CAP_SYS_ADMIN. Without it the test is skipped and says so; with it a disk that cannot be
    made is a failure, so that a machine that is meant to run these tests never passes them by.
    """
    if not _may_mount():
        pytest.skip("a power cut needs a file system of its own: run as root with CAP_SYS_ADMIN (mount -o loop)")
    made = Disks(tmp_path)
    yield made
    made.end()
