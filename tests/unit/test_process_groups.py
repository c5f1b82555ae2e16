"""Groups of processes: what they return, and that each failure is told and ends all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from d2lutils import processes
from d2lutils.processes import run_group, run_parameter_server

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("run", [run_group, run_parameter_server])


def gone(pid: int) -> bool:
    """Whether there is no process with that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def soon(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether something becomes true in that time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of the processes that a test starts; none may be left after it."""
    found: list[int] = []

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            found.append(self.pid)

    monkeypatch.setattr("d2lutils.processes.subprocess.Popen", Popen)
    yield found
    assert [pid for pid in found if not gone(pid)] == []


# -- what comes back -------------------------------------------------------------------


def half(value: float) -> float:
    return value / 2


def main(start: float, names: list[str]) -> Any:
    """Named as a program often is. \N{MULTIPLICATION SIGN}"""
    import os
    import sys

    import numpy as np

    assert sys.stdin.read() == ""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    print(f"{rank} of {size}", os.environ["LOCAL_RANK"], os.environ["LOCAL_WORLD_SIZE"])
    rows = np.full((1, 2), half(start) + rank)
    return {"rows": rows, "name": names[rank], "count": np.int64(size), "nothing": None}


def test_results(capsys: pytest.CaptureFixture[str], started: list[int]) -> None:
    arguments = {"start": 3, "names": ["a", "\N{LATIN SMALL LETTER E WITH ACUTE}", "c"]}
    found = run_group(main, 3, uses=[half], arguments=arguments)
    assert found == [
        {"rows": [[1.5 + i, 1.5 + i]], "name": name, "count": 3, "nothing": None}
        for i, name in enumerate(arguments["names"])  # type: ignore[arg-type]
    ]
    assert capsys.readouterr().out == "0 of 3 0 3\n1 of 3 1 3\n2 of 3 2 3\n"
    assert len(started) == 3


def summed() -> Any:
    import torch
    from torch import distributed

    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    value = torch.full((2,), (rank + 1) / 3, dtype=torch.float64, requires_grad=True)
    total = value.detach().clone()
    distributed.all_reduce(total)
    distributed.destroy_process_group()
    return rank, value, total


def test_as_torchrun(tmp_path: Path) -> None:
    """The same function gives the same under PyTorch's launcher; tensors come back."""
    port = processes._bind(0)
    found = run_group(summed, port=port)
    assert found == [[i, [(i + 1) / 3] * 2, [1.0, 1.0]] for i in range(2)]
    file = tmp_path / "program.py"
    text = processes._files("x", summed, [], None)["program.py"]
    text += "\n\nrank, *tensors = summed()\nlists = [t.tolist() for t in tensors]\n"
    # One write for a line, since both write into the same pipe.
    file.write_text(text + "print(f'{[rank, *lists]}\\n', end='', flush=True)\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ran = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.splitlines()) == [str(each) for each in found]
    # What is left of the connections does not take the port.
    assert run_group(rank, 1, port=port) == ["0"]


BEST = float("inf")
square = lambda value: value * value  # noqa: E731


@dataclass
class Pair:
    one: int

    def both(self) -> int:
        return self.one + square(self.one)


Two = Pair


def naming() -> Any:
    return [str(BEST), Two(3).both(), half(5), Path("a").name]


def test_what_a_function_names_goes_along() -> None:
    assert run_group(naming, 1) == [["inf", 12, 2.5, "a"]]


def test_a_class_of_a_notebook() -> None:
    """Its module has no file, but its methods know where they were compiled."""
    shell = InteractiveShell.instance()
    cell = "class Three:\n    def f(self):\n        return 3\n\n"
    shell.run_cell(cell + "def three():\n    return Three().f()").raise_error()
    assert run_group(shell.user_ns["three"], 1) == [3]


# -- bad arguments ---------------------------------------------------------------------


def rank() -> str:
    import os

    return os.environ["RANK"]


def of_text() -> Any:
    names: dict[str, Any] = {}
    exec("def written(): ...", names)
    return names["written"]


def enclosed() -> Callable[[], int]:
    value = 3

    def inside() -> int:
        return value

    return inside


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"program": lambda: 1},
        TypeError,
        "program must be a function made by def, got <lambda>",
    ),
    ({"program": 3}, TypeError, "program must be a function, got 3"),
    (
        {"program": print},
        TypeError,
        "program must be a function made by def, got print",
    ),
    ({"program": Path}, TypeError, "program must be a function made by def, got Path"),
    ({"program": of_text()}, TypeError, "the source of written cannot be read"),
    (
        {"program": enclosed()},
        TypeError,
        "inside uses variables of the function around it, which do not go along",
    ),
    ({"uses": [half, print]}, TypeError, "the source of print cannot be read"),
    (
        {"arguments": {"x": {1}}},
        TypeError,
        "arguments must be what JSON can hold: Object of type set is not JSON "
        "serializable",
    ),
    ({"timeout": 0}, ValueError, "timeout must be above 0, got 0"),
    ({"timeout": "1"}, TypeError, "timeout must be a number, got '1'"),
    ({"timeout": float("inf")}, ValueError, "timeout must be finite, got inf"),
    ({"port": 70000}, ValueError, "port must be at most 65535, got 70000"),
    ({"port": 0}, ValueError, "port must be at least 1, got 0"),
    ({"count": 0}, ValueError, "count must be at least 1, got 0"),
    ({"workers": 1.5}, TypeError, "workers must be an integer, got 1.5"),
    ({"servers": 0}, ValueError, "servers must be at least 1, got 0"),
]


@pytest.mark.parametrize("i", range(len(BAD)), ids=[text[:40] for *_, text in BAD])
def test_refused(i: int, started: list[int]) -> None:
    changes, error, text = BAD[i]
    runs = [run_group, run_parameter_server]
    runs = runs[:1] if "count" in changes else runs
    for run in runs[1:] if {"workers", "servers"} & set(changes) else runs:
        with pytest.raises(error) as caught:
            run(**{"program": rank} | changes)  # type: ignore[operator]
        assert str(caught.value) == f"{run.__name__}: {text}"
    assert started == []


@BOTH
@pytest.mark.parametrize("listens", [False, True])
def test_a_port_that_is_taken(run: Any, listens: bool, started: list[int]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError) as caught:  # noqa: PT011
            run(rank, port=port)
    words = f"{run.__name__}: port {port} cannot be used: Address already in use"
    assert (type(caught.value), str(caught.value)) == (OSError, words)
    assert started == []


# -- members that fail -----------------------------------------------------------------


def failing(how: str, there: str) -> None:
    """Process 1 fails while process 0 waits, where `there` says."""
    import os
    import signal
    import socket
    import sys
    import time
    from pathlib import Path

    first = os.environ["RANK"] == "0"
    if first and there == "sleep":
        time.sleep(60)
    if first or there == "barrier":
        from torch import distributed

        distributed.init_process_group("gloo")
    if first:
        distributed.barrier()
        Path("unreached").touch()
    if there == "barrier":
        time.sleep(0.2)  # process 0 is there by now
    if there == "init":
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        with socket.socket() as probe:
            while probe.connect_ex(address):
                time.sleep(0.02)
    if how == "raise":
        raise ValueError(f"not today\nand not in {os.getcwd()}")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    sys.exit("no more" if how == "words" else 0)


@pytest.mark.parametrize(
    ("how", "there", "text"),
    [
        # The other one then fails as well, but it is not to blame.
        ("raise", "barrier", "ValueError: not today"),
        ("kill", "init", "it was ended by signal 9"),
        ("exit", "sleep", "it ended with status 3"),
        ("words", "sleep", "no more"),
        ("quietly", "sleep", "it ended before its function returned"),
    ],
)
def test_one_fails_while_the_other_waits(how: str, there: str, text: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        run_group(failing, arguments={"how": how, "there": there}, timeout=55)
    assert str(caught.value) == f"run_group: process 1: {text}"


def falling() -> None:
    import os
    import time

    time.sleep(0.2 if os.environ["RANK"] == "0" else 0)
    raise OSError(os.environ["RANK"])


def test_the_first_to_fail_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if both have ended when the parent looks."""
    sleep = time.sleep
    monkeypatch.setattr("d2lutils.processes.time.sleep", lambda seconds: sleep(1.5))
    with pytest.raises(RuntimeError, match=r"^run_group: process 1: OSError: 1$"):
        run_group(falling)


def returning_what_json_lacks() -> Any:
    return [{1}]


def test_a_result_that_cannot_come_back() -> None:
    with pytest.raises(RuntimeError) as caught:
        run_group(returning_what_json_lacks, 1)
    words = "process 0: TypeError: the function returned a set"
    assert str(caught.value) == f"run_group: {words}"


def staying(folder: str = "", ranks: tuple[int, ...] = (0, 2)) -> None:
    """Some processes stay for a minute, and leave their numbers."""
    import os
    import time
    from pathlib import Path

    own = os.environ["RANK"]
    if int(own) in ranks:
        if folder:
            Path(folder, own).write_text(str(os.getpid()))
        time.sleep(60)


def with_a_child(file: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(file).write_text(str(child.pid))
    raise ValueError("too much")


def test_what_a_member_started_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "child"
    with pytest.raises(RuntimeError, match="process 0: ValueError: too much"):
        run_group(with_a_child, 1, arguments={"file": str(file)})
    assert soon(lambda: gone(int(file.read_text())))


def test_who_does_not_end() -> None:
    with pytest.raises(TimeoutError) as caught:
        run_group(staying, 3, timeout=1.5)
    words = "not ended after 1.5 s: process 0, process 2"
    assert str(caught.value) == f"run_group: {words}"


def test_interrupted(monkeypatch: pytest.MonkeyPatch, started: list[int]) -> None:
    """Ctrl-C leaves no process."""

    def interrupt(seconds: float) -> None:
        assert not any(map(gone, started))
        raise KeyboardInterrupt

    monkeypatch.setattr("d2lutils.processes.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_group(staying, 2)
    assert len(started) == 2


def test_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Its members see that, and end."""
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/unit']\n"
        "from test_process_groups import run_group, staying\n"
        f"given = {{'folder': {str(tmp_path)!r}, 'ranks': [0, 1]}}\n"
        "run_group(staying, arguments=given)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent:
        assert soon(lambda: len(list(tmp_path.iterdir())) == 2, 60)
        time.sleep(0.1)
        children = [int(path.read_text()) for path in tmp_path.iterdir()]
        assert not any(map(gone, children))
        parent.kill()
    assert parent.returncode == -signal.SIGKILL
    assert soon(lambda: all(map(gone, children)))


# -- the parameter server --------------------------------------------------------------


def lonely(folder: str) -> None:
    """One worker waits for the other, which never comes."""
    import os
    import signal
    import time
    from pathlib import Path

    try:
        Path(folder, "first").mkdir()
    except FileExistsError:
        while not Path(folder, "waits").exists():
            time.sleep(0.02)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    from d2lutils.compat import mx

    Path(folder, "waits").touch()
    mx.kv.create("dist_sync")


@pytest.mark.needs_mxnet
def test_workers_that_meet_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE_SECONDS", 0.5)
    words = "the workers have ended, but not scheduler, server 0: the program must"
    with pytest.raises(RuntimeError, match=words):
        run_parameter_server(half, arguments={"value": 1})


@pytest.mark.needs_mxnet
def test_a_worker_dies(tmp_path: Path, started: list[int]) -> None:
    with pytest.raises(
        RuntimeError,
        match=r"^run_parameter_server: worker [01]: it was ended by signal 9$",
    ):
        run_parameter_server(lonely, arguments={"folder": str(tmp_path)}, timeout=100)
    assert len(started) == 4


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("server", "error", "text"),
    [
        (
            "import time; time.sleep(60)",
            TimeoutError,
            "not ended after 2 s: scheduler, server 0, worker 0",
        ),
        ("", TimeoutError, "not ended after 2 s: scheduler, worker 0"),
        ("1 / 0", RuntimeError, "server 0: ZeroDivisionError: division by zero"),
    ],
    ids=["sleeps", "ends", "fails"],
)
def test_a_server_that_never_comes(
    server: str,
    error: type[Exception],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    popen = processes.subprocess.Popen

    def other(command: list[str], **options: Any) -> Any:
        if options["env"]["DMLC_ROLE"] == "server":
            command = [sys.executable, "-c", server]
        return popen(command, **options)

    monkeypatch.setattr("d2lutils.processes.subprocess.Popen", other)
    timeout = 2 if error is TimeoutError else 60
    with pytest.raises(error) as caught:
        run_parameter_server(connected, workers=1, timeout=timeout)
    assert str(caught.value) == f"run_parameter_server: {text}"


def connected() -> None:
    from d2lutils.compat import mx

    mx.kv.create("dist_sync")
