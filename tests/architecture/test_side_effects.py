"""Importing any module does nothing; importing what clients install is light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, modules, present

WATCH = """
import importlib, json, os, sys, threading

seen, current, names = [], "", json.load(sys.stdin)
telling = {
    "os.chmod", "os.exec", "os.fork", "os.kill", "os.link", "os.mkdir", "os.posix_spawn", "os.putenv", "os.remove",
    "os.rename", "os.rmdir", "os.symlink", "os.system", "os.truncate", "os.unsetenv", "signal.pthread_kill",
    "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto", "sqlite3.connect", "subprocess.Popen",
    "tempfile.mkdtemp", "tempfile.mkstemp", "urllib.Request", "webbrowser.open",
}

def hook(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if current and (event in telling or writes):
        seen.append(f"{current}: {event} {args!r:.200}")

sys.addaudithook(hook)
import logging, signal
before = {number: signal.getsignal(number) for number in signal.valid_signals()}
for current in names:
    importlib.import_module(current)
    if threading.active_count() > 1:
        seen.append(f"{current}: started {threading.enumerate()[1:]!r}")
        break
    if logging.getLogger().handlers:
        seen.append(f"{current}: set up logging")
        break
    if {number: signal.getsignal(number) for number in signal.valid_signals()} != before:
        seen.append(f"{current}: took a signal")
        break
current = ""
print("\\n".join(seen))
"""

ROOTS = """
import sys
before = set(sys.modules)
import {package}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)))
"""

LIGHT = {
    "job_contracts": {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"},
    "producer_sdk": {
        *("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"),
        "job_contracts",
        "nats",
    },
}


def _python(code: str, given: str = "") -> str:
    command = [sys.executable, "-B", "-W", "error", "-c", code]
    run = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_importing_any_module_opens_writes_starts_and_connects_nothing() -> None:
    names = [module.name for module in modules(*present(), "benchmarks", "migrations")]
    told = _python(WATCH, json.dumps(names))
    assert not told, told


@pytest.mark.parametrize(
    ("effect", "event"),
    [
        ("os.mkdir(folder)", "os.mkdir"),
        ("open(folder, 'w').close()", "open"),
        ("__import__('socket').socket().bind(('127.0.0.1', 0))", "socket.bind"),
        ("__import__('subprocess').run(['true'])", "subprocess.Popen"),
        ("logging.basicConfig()", "logging"),
        ("signal.signal(signal.SIGTERM, print)", "signal"),
        ("threading.Thread(target=threading.Event().wait, args=(5,)).start()", "Thread"),
    ],
)
def test_the_watch_sees_each_kind_of_effect(tmp_path: Path, effect: str, event: str) -> None:
    (tmp_path / "telling.py").write_text(
        f"import logging, os, signal, threading\nfolder = {str(tmp_path / 'new')!r}\n{effect}\n"
    )
    watch = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{WATCH}"
    assert event in _python(watch, '["telling"]')


def test_importing_the_contracts_loads_pydantic_alone() -> None:
    assert set(_python(ROOTS.format(package="job_contracts")).split()) <= LIGHT["job_contracts"] | {"job_contracts"}


def test_importing_the_sdk_loads_nats_and_pydantic_alone() -> None:
    assert set(_python(ROOTS.format(package="producer_sdk")).split()) <= LIGHT["producer_sdk"] | {"producer_sdk"}


def test_the_broker_s_client_brings_no_http_along_and_its_websockets_still_find_it() -> None:
    loaded = "import sys, runtime.bus; print('aiohttp' in sys.modules)"
    asked = "from nats.aio.transport import aiohttp as theirs; print(theirs.WSMsgType.BINARY.name)"
    real = "import aiohttp; print(theirs is not aiohttp, theirs.WSMsgType is aiohttp.WSMsgType)"
    assert _python(f"{loaded}; {asked}; {real}").split() == ["False", "BINARY", "True", "True"]
