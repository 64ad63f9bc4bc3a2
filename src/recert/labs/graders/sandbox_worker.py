"""
The process in which graders' code runs. It is started as a script, with nothing but the standard library.

```
parent  --settings, then one (sample, item) a line-->  keeper  --fork for each-->  grader's code
        <--one answer a line--------------------------         <--one answer-----
```

The keeper never runs the grader's code: it compiles it, gives up what it can of its own powers for good, and forks a
process for every sample, which starts from the same state, may use so much and no more, and is killed when its time is
up. So no sample can change what the next one gets.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import math
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

_NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ACCESS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_ACCESS = (1 << 16) - 1
_NOBODY = 65534
_NEVER_AHEAD = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "webbrowser"}
"""Modules that do something when they are imported."""

_LATE = ("_strptime", "unicodedata", "encodings.idna")
"""Modules that others import when they are used: where Python lies in a folder of root's it is too late by then."""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Read the settings, fence this process in, and answer until the parent has no more."""
    settings = json.loads(sys.stdin.buffer.readline())
    held = _unshare()
    keeper = os.fork()
    if keeper:
        os.close(0)
        os.close(1)
        os.waitpid(keeper, 0)
        os._exit(0)
    try:
        code = compile(settings["source"], "<grader>", "exec")
        _import_ahead(settings)
        held += _fence(settings)
    except Exception as exc:
        _say({"error": f"{type(exc).__name__}: {exc}"[:300]})
        os._exit(1)
    _say({"held": held})
    for line in iter(sys.stdin.buffer.readline, b""):
        _say(_answer(code, line, settings))
        _empty(Path.cwd())
    os._exit(0)


def _say(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _unshare() -> list[str]:
    """Leave the network and the processes of the machine, where the kernel lets this user."""
    user, group = os.getuid(), os.getgid()
    own = 0 if user == 0 else _NEWUSER
    try:
        done = _libc.unshare(own | _NEWNET | _NEWPID | _NEWIPC) == 0
    except AttributeError:  # not Linux
        return []
    if not done:
        return []
    if own:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_NOBODY} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{_NOBODY} {group} 1")
    return ["no network", "no other processes"]


def _import_ahead(settings: dict[str, Any]) -> None:
    """Import what the grader names, so that no sample waits for it or needs to read it."""
    sys.path += settings["paths"]
    for name in (*_LATE, *settings["imports"]):
        if name.partition(".")[0] not in _NEVER_AHEAD:
            importlib.import_module(name)


def _fence(settings: dict[str, Any]) -> list[str]:
    """Give up powers for good: the user, capabilities, files. What the kernel cannot do is left out of the answer."""
    os.chdir(settings["folder"])
    held = ["no environment", "limits"]
    with contextlib.suppress(AttributeError):  # not Linux
        _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _landlock(settings):
            held.append("no other files")
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        held.append("no privileges")
    elif _drop_capabilities():
        held.append("no privileges")
    with contextlib.suppress(AttributeError):
        _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: a change of the user takes it back
    return held


def _drop_capabilities() -> bool:
    """In a user namespace of its own a process starts with all capabilities there."""
    try:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        return bool(_libc.capset(header, (ctypes.c_uint32 * 6)()) == 0)
    except AttributeError:
        return False


def _landlock(settings: dict[str, Any]) -> bool:
    """Allow reading Python's own files, and anything in the folder of this run; nothing else, and no TCP."""
    abi = _libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        return False
    access = _ACCESS_OF_ABI.get(abi, _ALL_ACCESS)
    fields = [access, 3, 3][
        : 3 if abi >= 6 else 2 if abi >= 4 else 1
    ]  # files; TCP; signals and sockets to outside
    rules = (ctypes.c_uint64 * len(fields))(*fields)
    ruleset = _libc.syscall(_LANDLOCK_CREATE, rules, ctypes.sizeof(rules), 0)
    if ruleset < 0:
        return False
    readable = [Path(os.__file__).parent, *map(Path, settings["paths"])]
    readable += [Path(p) for p in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo")]
    allowed = [(path, _READ_FILE | _READ_DIR | _EXECUTE) for path in readable if path.is_dir()]
    allowed += [(Path(p), _READ_FILE) for p in ("/dev/urandom", "/dev/zero")]
    allowed += [(Path("/dev/null"), _READ_FILE | _WRITE_FILE), (Path.cwd(), access & ~_EXECUTE)]
    for path, what in allowed:
        _allow(ruleset, path, what & access)
    done: bool = _libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return done


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _allow(ruleset: int, path: Path, access: int) -> None:
    with contextlib.suppress(OSError):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rule = _Beneath(access, parent)
            _libc.syscall(_LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), 0)
        finally:
            os.close(parent)


def _answer(code: Any, line: bytes, settings: dict[str, Any]) -> dict[str, Any]:
    """Grade one sample in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _grade(code, line, writer, settings)
    os.close(writer)
    said, late = _read(reader, settings["wall_s"], settings["output_bytes"])
    os.close(reader)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if late:
        return {"failed": f"took longer than {settings['wall_s']:g} s"}
    try:
        answer = json.loads(said)
        if set(answer) == {"value"} and math.isfinite(answer["value"]):
            return {"value": float(answer["value"])}
        return {"failed": str(answer["failed"])[:300]}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {"failed": _ended(status, said, settings)}


def _ended(status: int, said: bytes, settings: dict[str, Any]) -> str:
    if len(said) > settings["output_bytes"]:
        return f"answered with more than {settings['output_bytes']} bytes"
    if os.WIFSIGNALED(status):
        return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended by itself, with exit code {os.waitstatus_to_exitcode(status)} and no grade"


def _read(reader: int, wall_s: float, most: int) -> tuple[bytes, bool]:
    """Read up to `most` bytes, and say whether time was up before the end came."""
    said, until = b"", time.monotonic() + wall_s
    while len(said) <= most:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return said, True
        some = os.read(reader, 65_536)
        if not some:
            break
        said += some
    return said, False


def _grade(code: Any, line: bytes, writer: int, settings: dict[str, Any]) -> NoReturn:
    """Run the grader's code in this process, which then ends."""
    dumps, write, leave = json.dumps, os.write, os._exit  # the code may put others in their place
    try:
        nothing = os.open("/dev/null", os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        for kind, most in _limits(settings):
            resource.setrlimit(kind, (most, most))
        sys.setrecursionlimit(1000)
        given = json.loads(line)
        space: dict[str, Any] = {"__name__": "grader", "__builtins__": __builtins__}
        exec(code, space)  # noqa: S102 - this is what the process is for
        value = space["grade"](given["sample"], given["item"])
        answer = _checked(value)
    except BaseException as exc:
        answer = {"failed": f"{type(exc).__name__}: {_words(exc)}"[:300]}
    with contextlib.suppress(BaseException):
        write(writer, dumps(answer).encode())
    leave(0)


def _limits(settings: dict[str, Any]) -> Iterator[tuple[int, int]]:
    yield resource.RLIMIT_CPU, math.ceil(settings["wall_s"])
    yield resource.RLIMIT_AS, settings["memory_bytes"]
    yield resource.RLIMIT_FSIZE, settings["file_bytes"]
    yield resource.RLIMIT_NOFILE, settings["open_files"]
    yield resource.RLIMIT_NPROC, 0
    yield resource.RLIMIT_CORE, 0


def _checked(value: Any) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"failed": f"grade returned {type(value).__name__}, not a number"}
    number = float(value)
    if not math.isfinite(number):
        return {"failed": f"grade returned {number}"}
    return {"value": number}


def _words(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException:
        return "without words"


def _empty(folder: Path) -> None:
    """Remove what a sample left behind."""
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
