"""Groups of processes on this machine that train one net together.

`run_group` starts equal processes with the variables that `torchrun` sets, for
`torch.distributed`; `run_parameter_server` starts MXNet's roles (scheduler, servers,
workers), for `kv.create("dist_sync")`. Both run one function of yours in each process
and return what each returned. A group ends as a whole: if a process fails, or the time
is over, the others are stopped, and there is one error that says which and why.

The function runs in a fresh Python, which gets its source, and the source or import of
each function, class, module, number and string of its file or notebook that it names.
Data it must load itself. It returns numbers, strings, lists, dictionaries or arrays.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Annotated, Any

from d2lutils import _arguments
from d2lutils._arguments import Positive, Rule, checked
from d2lutils._errors import reason

__all__ = ["run_group", "run_parameter_server"]

HERE = "127.0.0.1"
PATIENCE_SECONDS = 10.0

# MXNet's server never sets the flag that makes it keep float64 as float32, so what lay
# in its memory decides. With this, glibc gives it memory of zeros.
_EXACT = {"GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"}


def _program(owner: str, name: str, value: Any) -> Callable[..., Any]:
    """A function with a name, whose source can be read."""
    _arguments.function(owner, name, value)
    if not inspect.isfunction(value) or not value.__name__.isidentifier():
        shown = getattr(value, "__name__", value)
        raise TypeError(f"{owner}: {name} must be a function made by def, got {shown}")
    return value


def _seconds(owner: str, name: str, value: Any) -> float:
    """A time-out: a number above 0."""
    return _arguments.number(owner, name, value, low=0, open_low=True)


def _port(owner: str, name: str, value: Any) -> int:
    """A port that nobody listens at."""
    port = _arguments.positive(owner, name, value)
    if port > 65535:
        raise ValueError(f"{owner}: {name} must be at most 65535, got {port}")
    try:
        _bind(port)
    except OSError as error:
        raise OSError(
            f"{owner}: {name} {port} cannot be used: {os.strerror(error.errno or 0)}"
        ) from None
    return port


Program = Annotated[Callable[..., Any], Rule(_program)]
Seconds = Annotated[float, Rule(_seconds)]
Port = Annotated[int, Rule(_port)]


@checked
def run_group(
    program: Program,
    count: Positive = 2,
    uses: Sequence[Callable[..., Any]] = (),
    arguments: Mapping[str, Any] | None = None,
    timeout: Seconds = 120.0,
    port: Port | None = None,
) -> list[Any]:
    """Run a function in `count` processes that `torch.distributed` makes a group of.

    Each has `torchrun`'s variables: RANK and LOCAL_RANK from 0, WORLD_SIZE,
    LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. So the function may begin with
    `torch.distributed.init_process_group("gloo")`, or "nccl" with a GPU for each.

    Args:
        program: a function whose source can be read, in a notebook, too.
        count: processes.
        uses: functions and classes whose sources go along though it does not name them.
        arguments: its arguments by name; what JSON can hold.
        timeout: seconds until a group that has not ended is stopped.
        port: of the first process, on the loopback address; a free one by default.

    Returns:
        What each returned, by rank; arrays and tensors as nested lists.

    Raises:
        TypeError, ValueError: a bad argument, named.
        OSError: `port` is taken.
        RuntimeError: a process failed; with its last words.
        TimeoutError: the time is over; who had not ended.

    >>> def program(greeting):
    ...     import os
    ...     return greeting + os.environ["RANK"]
    >>> run_group(program, arguments={"greeting": "I am "})
    ['I am 0', 'I am 1']
    """
    shared = {
        "MASTER_ADDR": HERE,
        "MASTER_PORT": str(port or _bind(0)),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    members = [
        _Member(f"process {i}", shared | {"RANK": str(i), "LOCAL_RANK": str(i)})
        for i in range(count)
    ]
    files = _files("run_group", program, uses, arguments)
    return _run("run_group", members, files, timeout)


@checked
def run_parameter_server(
    program: Program,
    workers: Positive = 2,
    servers: Positive = 1,
    uses: Sequence[Callable[..., Any]] = (),
    arguments: Mapping[str, Any] | None = None,
    timeout: Seconds = 120.0,
    port: Port | None = None,
) -> list[Any]:
    """Run a function in workers that MXNet's parameter servers serve.

    A scheduler tells everybody where the others are; servers keep and sum; both end
    when the workers have. The function may begin with `mx.kv.create("dist_sync")`,
    after `from d2lutils.compat import mx`.

    Args:
        program: a function whose source can be read, in a notebook, too.
        workers: processes that run it.
        servers: processes among which the parameters are shared out.
        uses, arguments, timeout: as `run_group`.
        port: of the scheduler, on the loopback address; a free one by default.

    Returns:
        What each worker returned. `kv.rank` is MXNet's number for a worker, which
        need not be its place in this list.

    Raises:
        TypeError, ValueError, OSError, RuntimeError, TimeoutError: as `run_group`.
    """
    shared = {
        "DMLC_PS_ROOT_URI": HERE,
        "DMLC_PS_ROOT_PORT": str(port or _bind(0)),
        "DMLC_NODE_HOST": HERE,
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
    }
    roles = {"scheduler": 1, "server": servers, "worker": workers}
    members = [
        _Member(
            role if role == "scheduler" else f"{role} {i}",
            shared | {"DMLC_ROLE": role} | (_EXACT if role == "server" else {}),
            runs=role == "worker",
        )
        for role, number in roles.items()
        for i in range(number)
    ]
    files = _files("run_parameter_server", program, uses, arguments)
    return _run("run_parameter_server", members, files, timeout)


# -- the parent ------------------------------------------------------------------------


@dataclass
class _Member:
    """A process to start: its name, its variables, whether it runs the program."""

    name: str
    variables: dict[str, str]
    runs: bool = True
    process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> None:
        """Start it; it ends by itself, too, should this process be killed."""
        self.folder = folder / self.name.replace(" ", "_")
        self.folder.mkdir()
        command = [sys.executable, "-m", "d2lutils.processes", str(self.folder)]
        if self.runs:
            command.append(str(folder))
        with (
            open(self.folder / "out", "wb") as out,
            open(self.folder / "errors", "wb") as errors,
        ):
            self.process = subprocess.Popen(
                command,
                env=_environment() | self.variables,
                stdin=subprocess.PIPE,  # by its end a member sees that of this process
                stdout=out,
                stderr=errors,
                start_new_session=True,  # so that what it starts can be killed with it
            )

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def stop(self) -> None:
        """Kill it and what it started, and wait for its end."""
        if self.process is not None:
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            self.process.stdin.close()

    def failure(self) -> tuple[float, str] | None:
        """When it failed, 0 if it could not say so itself, and why; None if not."""
        status, told = self.status, self.folder / "failure.json"
        if told.exists():
            when, why = json.loads(told.read_text(encoding="utf-8"))
            return when, why
        if status is None:
            return None
        if status < 0:
            return 0.0, f"it was ended by signal {-status}"
        if status == 0:
            missing = self.runs and not (self.folder / "result.json").exists()
            return (0.0, "it ended before its function returned") if missing else None
        text = (self.folder / "errors").read_text(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return 0.0, lines[-1] if lines else f"it ended with status {status}"


def _run(
    owner: str, members: list[_Member], files: dict[str, str], timeout: float
) -> list[Any]:
    """Start the members, wait for all, and return the results of those that run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        try:
            for member in members:
                member.start(folder)
            _wait(owner, members, timeout)
        finally:
            started = [member for member in members if member.process]
            for member in started:
                member.stop()
            for member in started:
                print((member.folder / "out").read_text(errors="replace"), end="")
        workers = [member for member in members if member.runs]
        results = [member.folder / "result.json" for member in workers]
        return [json.loads(path.read_text(encoding="utf-8")) for path in results]


def _wait(owner: str, members: list[_Member], timeout: float) -> None:
    """Return when all have ended well; raise when one fails or the time is over."""
    end = time.monotonic() + timeout
    alone = 0.0
    while True:
        running = [member.name for member in members if member.status is None]
        failures = [(member.failure(), member.name) for member in members]
        # After one failure others fail for want of it, so the first one counts.
        failed = [(*failure, name) for failure, name in failures if failure]
        if failed:
            _, why, name = min(failed)
            raise RuntimeError(f"{owner}: {name}: {why}")
        if not running:
            return
        if all(member.status == 0 for member in members if member.runs):
            # A server ends with the workers, unless none of them has met it.
            alone = alone or time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > alone:
                raise RuntimeError(
                    f"{owner}: the workers have ended, but not {', '.join(running)}: "
                    "the program must create a store, as mx.kv.create('dist_sync') does"
                )
        if time.monotonic() > end:
            raise TimeoutError(
                f"{owner}: not ended after {timeout:g} s: {', '.join(running)}"
            )
        time.sleep(0.02)


def _files(
    owner: str,
    program: Callable[..., Any],
    uses: Sequence[Callable[..., Any]],
    arguments: Mapping[str, Any] | None,
) -> dict[str, str]:
    """The program and what it uses as a file, and the call of it as another."""
    try:
        call = json.dumps([program.__name__, dict(arguments or {})])
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{owner}: arguments must be what JSON can hold: {reason(error)}"
        ) from None
    found: dict[str, str] = {}
    for part in (*uses, program):
        try:
            _collect(part.__name__, part, found)
        except ValueError as error:
            raise TypeError(f"{owner}: {error}, which do not go along") from None
        except (OSError, TypeError, SyntaxError):
            shown = getattr(part, "__name__", part)
            raise TypeError(f"{owner}: the source of {shown} cannot be read") from None
    # MXNet is imported through the bridge.
    bridge = ["import d2lutils.compat"] if "import mxnet" in str(found) else []
    lines = ["from __future__ import annotations", *bridge, *found.values()]
    return {"program.py": "\n\n".join(lines), "call.json": call}


def _collect(name: str, part: Any, found: dict[str, str]) -> None:
    """Add code that gives a function or class this name, after what it names itself."""
    if set(getattr(getattr(part, "__code__", None), "co_freevars", ())):
        raise ValueError(f"{name} uses variables of the function around it")
    code = textwrap.dedent(_code(part))
    found[name] = ""  # it may name itself
    home = getattr(part, "__globals__", None) or vars(sys.modules[part.__module__])
    for node in ast.walk(ast.parse(code)):
        used = node.id if isinstance(node, ast.Name) else ""
        if used in found or used not in home:
            continue
        value = home[used]
        place = getattr(value, "__module__", None)
        if isinstance(value, ModuleType):
            found[used] = f"import {value.__name__} as {used}"
        elif type(value) in (bool, int, str):
            found[used] = f"{used} = {value!r}"
        elif isinstance(value, float):  # infinity has no literal
            found[used] = f"{used} = float({str(float(value))!r})"
        elif isinstance(value, type | FunctionType | BuiltinFunctionType) and place:
            if place == home["__name__"]:
                _collect(used, value, found)
            else:
                found[used] = f"from {place} import {value.__name__} as {used}"
    del found[name]
    if part.__name__ not in (name, "<lambda>"):
        code += f"\n\n{name} = {part.__name__}"
    found[name] = code


def _code(part: Any) -> str:
    """The source of a function or class; of a lambda, of its assignment."""
    if not isinstance(part, type):
        return inspect.getsource(part)
    # Python looks for a class in its module's file, which a notebook does not have, but
    # for a function where it was compiled.
    functions = (inspect.unwrap(getattr(v, "__func__", v)) for v in vars(part).values())
    method = next((f for f in functions if inspect.isfunction(f)), part)
    lines = inspect.findsource(method)[0]
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, ast.ClassDef) and node.name == part.__name__:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return "".join(lines[first - 1 : node.end_lineno])
    raise TypeError(part.__name__)


def _environment() -> dict[str, str]:
    """This process's variables, with its import path, and one thread a process."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {"OMP_NUM_THREADS": "1"} | dict(os.environ) | {"PYTHONPATH": path}


def _bind(port: int) -> int:
    """Bind a port for a moment; 0 finds a free one."""
    with socket.socket() as listener:
        # A connection that has ended holds a port for a while, but does not take it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HERE, port))
        found: int = listener.getsockname()[1]
        return found


# -- the child -------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """An array as nested lists, for JSON."""
    if hasattr(value, "detach"):
        value = value.detach()
    value = value.asnumpy() if hasattr(value, "asnumpy") else value
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the function returned a {type(value).__name__}")


def _watch() -> None:
    """End this process at once when its parent has ended."""
    parent = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def wait() -> None:
        os.read(parent, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _child(own: str, shared: str = "") -> None:
    """A process of a group: run the program and store what it returns."""
    if not shared:
        from d2lutils.compat import mx  # a scheduler or server stays in this import

        raise RuntimeError(f"{mx.__name__} started no parameter server")
    folder = Path(shared)
    name, arguments = json.loads((folder / "call.json").read_text(encoding="utf-8"))
    program = runpy.run_path(str(folder / "program.py"))[name]
    found = json.dumps(program(**arguments), default=_plain)
    Path(own, "result.json").write_text(found, encoding="utf-8")


def _tell(own: str, error: Exception) -> None:
    """Leave a failure's time and reason for the parent, before others see its end."""
    told = json.dumps([time.monotonic(), f"{type(error).__name__}: {reason(error)}"])
    part = Path(own, "failure.part")
    part.write_text(told, encoding="utf-8")
    part.replace(part.with_suffix(".json"))  # whole, or not there


if __name__ == "__main__":
    _watch()
    try:
        _child(*sys.argv[1:])
    except Exception as error:
        _tell(sys.argv[1], error)
        raise SystemExit(1) from None
