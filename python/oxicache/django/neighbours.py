"""What stands in the way of shared version words, and who is parted from this site's processes. It makes nothing.

The file itself is made and opened natively, at the first use; what is found then is in `host.state()`.
"""

import os
import re
import stat
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from oxicache.django import conf

__all__ = ["Parted", "obstacle", "of_other_users", "parted"]

FOLDER = re.compile(r"oxicache-(\d+)-(.+)")
FILE = re.compile(r"versions-.+")
LAYOUT = 1  # of the file, as src/host/place.rs has it; a test compares
REST_BYTES = 2**16 * 4 + 4096  # of the file, beside the words: when they were bumped, and the first page


@dataclass(frozen=True, slots=True)
class Parted:
    """Processes of this site that do not see the invalidations of this one, nor this one theirs."""

    what: str
    remedy: str


def obstacle() -> str | None:
    """Why the processes of this host cannot share their version words here; None where nothing is in the way."""
    if sys.platform != "linux":
        return f"they can be shared on Linux only, and this is {sys.platform}"
    try:
        name = _folder_name()
    except ImproperlyConfigured as error:
        return str(error)
    directory = Path(conf.runtime_directory())
    folder = directory / name
    try:
        found = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _obstacle_to_making(directory)
    except OSError as error:
        return f"{folder} cannot be looked at: {error.strerror}"
    return _obstacle_in(folder, found)


def _obstacle_in(folder: Path, found: os.stat_result) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return f"{folder} is a symbolic link, which is refused"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no directory"
    if found.st_uid != os.geteuid():
        return f"{folder} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}"
    if (mode := stat.S_IMODE(found.st_mode) & 0o777) != stat.S_IRWXU:
        return f"{folder} has mode {mode:04o}; it must be 0700"
    file = folder / _file_name()
    if file.is_symlink() or file.is_dir():
        return f"{file} is a symbolic link or a folder, which is refused"
    return None


def _obstacle_to_making(directory: Path) -> str | None:
    if not directory.is_dir():
        return f"{directory} is no directory"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} cannot be written by user {os.geteuid()}"
    wanted = conf.current().version_words * 4 + REST_BYTES
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize < wanted:
        return f"{directory} has no room for {wanted} bytes"
    return None


def parted() -> Iterator[Parted]:
    """Who belongs to this site, and meets elsewhere. O(processes of this user) where a folder looks like it."""
    if sys.platform != "linux":
        return
    try:
        own = _folder_name()
    except ImproperlyConfigured:
        return
    directory = Path(conf.runtime_directory())
    yield from _other_users()
    suspects = [*_other_namespaces(directory, own), *_other_directories(directory, own), directory / own]
    suspects = [folder for folder in suspects if _is_own_folder(folder)]
    files = [file for folder in suspects for file in _files(folder) if file != directory / own / _file_name()]
    if files:
        yield from _living(files, directory, own)


def of_other_users() -> Iterator[tuple[Path, int, bool]]:
    """Folders of this site that other users have made: with the user, and whether nobody else may write into it."""
    own = _folder_name()
    _, namespace = _parts(own)
    for folder in _folders(Path(conf.runtime_directory())):
        user, name = _parts(folder.name)
        if name == namespace and user != os.geteuid() and (mode := _mode_if_of(folder, user)) is not None:
            yield folder, user, stat.S_IMODE(mode) & 0o777 == stat.S_IRWXU


def _other_users() -> Iterator[Parted]:
    for folder, user, _ in of_other_users():
        yield Parted(
            f"{folder} shows that processes of this site run as user {user} too, and this one runs as user "
            f"{os.geteuid()}.",
            f"Run commands as the user that the workers run as. If none runs as user {user} any more, "
            f"remove the folder.",
        )


def _living(files: Iterable[Path], directory: Path, own: str) -> Iterator[Parted]:
    """Those whose file is mapped by a process of this user, started in the folder that this one was started in."""
    by_file: defaultdict[Path, list[int]] = defaultdict(list)
    for pid, mapped in _mapped_by_process():
        for file in mapped.intersection(files):
            if file.parent.name == own or _working_directory(pid) == _working_directory(os.getpid()):
                by_file[file].append(pid)
    for file, pids in sorted(by_file.items()):
        who = f"Process {pids[0]}" if len(pids) == 1 else f"Processes {', '.join(map(str, sorted(pids)))}"
        if file.parent == directory / own:
            yield Parted(
                f"{who} of this site use {file}, this one uses {_file_name()}.",
                "VERSION_WORDS or the version of oxicache has changed: restart all processes of the site.",
            )
        elif file.parent.name == own:
            yield Parted(
                f"{who} of this site use {file.parent}, this one uses {directory / own}.",
                "Give all processes of the site one RUNTIME_DIR, and restart those that have another.",
            )
        else:
            yield Parted(
                f"{who}, started in {_working_directory(os.getpid())} as this one was, use {file.parent}, this one "
                f"uses {directory / own}.",
                f'If these are one site, give all its settings modules one SECRET_KEY or one {conf.DICT}["NAMESPACE"]; '
                f"if they are two, silence this check.",
            )


def _other_namespaces(directory: Path, own: str) -> Iterator[Path]:
    user, _ = _parts(own)
    for folder in _folders(directory):
        if folder.name != own and _parts(folder.name)[0] == user:
            yield folder


def _other_directories(directory: Path, own: str) -> Iterator[Path]:
    for other in map(Path, conf.usual_directories()):
        if other != directory:
            yield other / own


def _mapped_by_process() -> Iterator[tuple[int, set[Path]]]:
    """Version files that processes have mapped, as far as this user may look."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            lines = (process / "maps").read_text(errors="surrogateescape").splitlines()
        except OSError:  # another user's, or gone meanwhile
            continue
        mapped = {Path(line[line.index("/") :]) for line in lines if "/oxicache-" in line}
        if mapped:
            yield int(process.name), mapped


def _working_directory(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 -- a path is compared, not followed
    except OSError:
        return None


def _folders(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if FOLDER.fullmatch(path.name))
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if FILE.fullmatch(path.name)]
    except OSError:
        return []


def _is_own_folder(folder: Path) -> bool:
    return _is_of(folder, os.geteuid())


def _is_of(folder: Path, user: int) -> bool:
    return _mode_if_of(folder, user) is not None


def _mode_if_of(folder: Path, user: int) -> int | None:
    """Return the mode of a folder that is this user's; None for anything else."""
    try:
        found = folder.lstat()
    except OSError:
        return None
    return found.st_mode if stat.S_ISDIR(found.st_mode) and found.st_uid == user else None


def _parts(name: str) -> tuple[int, str]:
    match = FOLDER.fullmatch(name)
    assert match is not None, f"{name} is not of the form of a folder's name"
    return int(match[1]), match[2]


def _folder_name() -> str:
    return f"oxicache-{os.geteuid()}-{conf.namespace()}"


def _file_name() -> str:
    return f"versions-{LAYOUT}-{conf.current().version_words}"
