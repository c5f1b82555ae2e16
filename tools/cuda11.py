"""MXNet's CUDA 11 build, as far as a machine without a card goes: ``make test-cuda11``.

Makes the environment ``.matrix/cuda11`` (kept for the next time; about 2.1 GB to
download, 3.6 GB on disk), sets the build up in it as ``python -m d2lutils cuda11
--install`` does, and checks what the machine code says of itself:

* every library that one of them needs is there, but for the driver's;
* every version of a symbol that one asks another for is there;
* every symbol that MXNet or a CUDA library leaves undefined is defined by a library
  that it needs, but for the driver's, which are listed.

It reads which cards the machine code in them is for, and compares that with what
its ``refusal`` says. It lets NVRTC compile for every kind of card that is served, as MXNet does for hybridized nets; that takes no card. Then it imports MXNet:
without a driver, for the error's text, and with a stand-in for the driver that says "no
card" (where there is a C compiler), for the rest. On a machine with a driver it imports
with that, and prints the device that MXNet runs on. Exits with 1 if something is
missing or not as it should be.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from d2lutils._compat import cuda11  # noqa: E402

FOLDER = ROOT / ".matrix" / "cuda11"
PYTHON = FOLDER / "bin" / "python"
TOOLS = ("numpy", "requests", "graphviz", "pyelftools==0.32")
#: Any card that the build serves: this environment is not for a card of this machine.
CARD = (8, 6)
CPU_BUILD = "mxnet==1.9.1"

# --- the environment ------------------------------------------------------------------


def build() -> list[str]:
    """Make the environment unless it is there; return what is wrong with it."""
    stamp = FOLDER / "built"
    recipe = " ".join((sys.version, *TOOLS, *cuda11.REQUIREMENTS))
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return []
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    pip("install", "--constraint", str(ROOT / "constraints.txt"), *TOOLS)
    pip("install", "--no-deps", CPU_BUILD)  # what the CUDA build has to replace
    before = packages()
    script = f"from d2lutils._compat import cuda11; cuda11.install({CARD}); print()"
    silent = {"PIP_QUIET": "1", "PIP_PROGRESS_BAR": "off"}
    first, second = python(script, **silent), python(script, **silent)
    changed = sorted(before ^ packages())
    print(first.stdout + second.stdout, flush=True)
    expected = sorted({CPU_BUILD, cuda11.MXNET})
    problems = [result.stderr for result in (first, second) if result.returncode]
    if changed != expected:
        problems.append(f"packages that changed: {changed}, expected: {expected}")
    if "installed already" not in second.stdout:
        problems.append("a second installation did not find the first")
    if not problems:
        stamp.write_text(digest)
    return problems


def pip(*arguments: str) -> str:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    return subprocess.run(
        [*command, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def packages() -> set[str]:
    return set(pip("freeze").split())


def python(
    script: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in the environment, with this checkout's d2lutils."""
    return subprocess.run(
        [str(PYTHON), *options, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# --- what the libraries say of themselves ---------------------------------------------


@dataclass
class Elf:
    """The dynamic side of a shared library; symbols are (name, version or "")."""

    path: Path
    needed: list[str] = field(default_factory=list)
    wanted: set[tuple[str, str]] = field(default_factory=set)  # (library, version)
    versions: set[str] = field(default_factory=set)
    undefined: set[tuple[str, str]] = field(default_factory=set)
    defined: set[tuple[str, str]] = field(default_factory=set)
    paths: list[Path] = field(default_factory=list)  # where it looks for libraries

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.defined}


def read(path: Path) -> Elf:
    """Read a library's dynamic section, symbols and versions."""
    from elftools.elf.elffile import ELFFile

    found = Elf(path)
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        for tag in elf.get_section_by_name(".dynamic").iter_tags():
            if tag.entry.d_tag == "DT_NEEDED":
                found.needed.append(tag.needed)
            elif tag.entry.d_tag in ("DT_RUNPATH", "DT_RPATH"):
                text = getattr(tag, "runpath", None) or tag.rpath
                text = text.replace("${ORIGIN}", "$ORIGIN")
                text = text.replace("$ORIGIN", str(path.parent))
                found.paths += map(Path, filter(None, text.split(":")))
        by_index: dict[int, str] = {}
        needs = elf.get_section_by_name(".gnu.version_r")
        for need, entries in needs.iter_versions() if needs else ():
            for entry in entries:
                by_index[entry["vna_other"] & 0x7FFF] = entry.name
                found.wanted.add((need.name, entry.name))
        defines = elf.get_section_by_name(".gnu.version_d")
        for define, entries in defines.iter_versions() if defines else ():
            name = next(iter(entries)).name
            found.versions.add(name)
            by_index[define["vd_ndx"]] = name
        indices = elf.get_section_by_name(".gnu.version")
        for number, symbol in enumerate(
            elf.get_section_by_name(".dynsym").iter_symbols()
        ):
            index = indices.get_symbol(number)["ndx"] if indices else ""
            # 0 and 1, local and global, come as words: no version.
            version = by_index[index & 0x7FFF] if isinstance(index, int) else ""
            if symbol["st_shndx"] != "SHN_UNDEF":
                found.defined.add((symbol.name, version))
            elif symbol.name and symbol["st_info"]["bind"] != "STB_WEAK":
                found.undefined.add((symbol.name, version))
    return found


def system_libraries() -> dict[str, Path]:
    """What the system's loader knows, by name."""
    path = f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin"
    ldconfig = shutil.which("ldconfig", path=path)
    if not ldconfig:
        raise RuntimeError("no ldconfig here: this check is for Linux")
    text = subprocess.run(
        [ldconfig, "-p"], capture_output=True, text=True, check=True
    ).stdout
    lines = re.findall(
        r"^\s+(\S+) \(([^)]*x86-64[^)]*)\) => (\S+)$", text, re.MULTILINE
    )
    found: dict[str, Path] = {}
    for name, _, path in lines:
        found.setdefault(name, Path(path))
    return found


def gather(roots: Iterable[Path], known: dict[str, Path]) -> dict[str, Elf]:
    """Read the roots and all that they need; by file name, missing ones left out."""
    found: dict[str, Elf] = {}
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path.name in found:
            continue
        elf = found[path.name] = read(path)
        for name in elf.needed:
            places = [folder / name for folder in elf.paths]
            if name in known:
                places.insert(0, known[name])
            # Not resolved: a link has the name that is asked for, its target has not.
            waiting += [Path(os.path.normpath(p)) for p in places if p.is_file()][:1]
    return found


def scope(name: str, libraries: dict[str, Elf]) -> list[Elf]:
    """The libraries in which the loader looks for a library's symbols."""
    seen: dict[str, Elf] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        if current in libraries and current not in seen:
            seen[current] = libraries[current]
            waiting += libraries[current].needed
    return list(seen.values())


def missing(name: str, libraries: dict[str, Elf]) -> dict[str, list[str]]:
    """What a library asks for and does not get, by kind."""
    elf = libraries[name]
    around = scope(name, libraries)
    names = set[str]().union(*(other.names for other in around))
    exact = set[tuple[str, str]]().union(*(other.defined for other in around))
    plain = set[str]().union(*(other.names for other in around if not other.versions))
    return {
        "libraries": sorted(
            other
            for other in elf.needed
            if other not in libraries and other != cuda11.DRIVER
        ),
        "versions": sorted(
            f"{version} of {other}"
            for other, version in elf.wanted
            if other in libraries and version not in libraries[other].versions
        ),
        "symbols": sorted(
            symbol
            for symbol, version in elf.undefined
            if (symbol not in names)
            or (version and (symbol, version) not in exact and symbol not in plain)
        ),
    }


def origin(path: Path, mxnet: Path) -> str:
    """The package that a library is from, or the system."""
    for library in cuda11.LIBRARIES:
        if path.parent == library.path.parent:
            return library.package
    return cuda11.MXNET if path.parent == mxnet else "the system"


def resolve(symbols: Path) -> int:
    """Print the table; write the driver's symbols to a file; 1 if one is missing."""
    import importlib.util

    spec = importlib.util.find_spec("mxnet")
    assert spec is not None
    assert spec.origin is not None
    mxnet = Path(spec.origin).parent / "libmxnet.so"
    # Preloaded, so found by name; of the rest each must find its own by a path in it.
    known = system_libraries() | {item.name: item.path for item in cuda11.LIBRARIES}
    opened = sorted(cuda11.FOLDER.glob("nvidia/*/lib/lib*.so*"))
    libraries = gather([mxnet, *opened], known)
    driver: set[str] = set()
    faults = 0
    print("| library | from | needs | versions | undefined symbols |")
    print("|---|---|---|---|---|")
    for name, elf in sorted(libraries.items()):
        lacks = missing(name, libraries)
        if cuda11.DRIVER in elf.needed:
            of_driver = [s for s in lacks["symbols"] if re.match(r"cu[A-Z]", s)]
            driver.update(of_driver)
            lacks["symbols"] = [s for s in lacks["symbols"] if s not in of_driver]
        cells = [name, origin(elf.path, mxnet.parent)]
        for kind, all_of_them in (
            ("libraries", elf.needed),
            ("versions", elf.wanted),
            ("symbols", elf.undefined),
        ):
            bad = lacks[kind]
            faults += len(bad)
            told = f"**missing: {', '.join(bad[:8])}**" if bad else "found"
            cells.append(f"{len(all_of_them)}, {told}" if all_of_them else "none")
        print("| " + " | ".join(cells) + " |")
    total = sum(len(elf.undefined) for elf in libraries.values())
    print(
        f"\n{len(libraries)} libraries, {total} undefined symbols; "
        f"{len(driver)} of them are for the driver, {cuda11.DRIVER}, to define: "
        f"{', '.join(sorted(driver))}.\n{faults} missing.",
        flush=True,
    )
    symbols.write_text("\n".join(sorted(driver)))
    loaded = [elf.path for elf in scope(mxnet.name, libraries) if elf.path in opened]
    loaded += [path for path in opened if path.name.startswith("libcudnn_")]
    faults += check_cards(mxnet, loaded)
    return int(bool(faults))


# --- the cards ------------------------------------------------------------------------

CARDS = [(major, minor) for major in range(1, 14) for minor in range(10)]


def machine_code(path: Path) -> tuple[set[int], set[int]]:
    """The cards that a library has code for: ready, and to be translated.

    As numbers like 86. Read from its fat binaries: each has a header (its size at byte
    6, that of its parts at 8) and parts with a header of their own (kind at byte 0,
    1 is PTX; sizes at 4 and 8; the card at 28).
    """
    from elftools.elf.elffile import ELFFile

    found: dict[int, set[int]] = {1: set(), 2: set()}
    with path.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".nv_fatbin")
        data = section.data() if section else b""
    start = 0
    while start < len(data):
        magic, _, header, size = struct.unpack_from("<IHHQ", data, start)
        if magic != 0xBA55ED50:  # between two of them
            start += 8
            continue
        part, start = start + header, start + header + size
        while part < start:
            kind, own, length = struct.unpack_from("<HxxIQ", data, part)
            (card,) = struct.unpack_from("<I", data, part + 28)
            found[kind].add(card)
            part += own + length
    return found[2], found[1]


def serves(card: tuple[int, int], ready: set[int], translated: set[int]) -> bool:
    """Code runs on cards of its major number from its minor on; PTX on all later."""
    number = 10 * card[0] + card[1]
    return any(c // 10 == card[0] and c <= number for c in ready) or any(
        c <= number for c in translated
    )


def check_cards(mxnet: Path, libraries: Iterable[Path]) -> int:
    """Print which cards are served; how many statements of ours are wrong."""
    ready, translated = machine_code(mxnet)
    wrong = [
        card
        for card in CARDS
        if serves(card, ready, translated)
        != (cuda11.refusal(card, "Linux", "x86_64") == "")
    ]
    served = [card for card in CARDS if serves(card, ready, translated)]
    gaps = [
        f"{path.name} for {major}.{minor}"
        for path in libraries
        for code in [machine_code(path)]
        for major, minor in served
        if any(code) and not serves((major, minor), *code)
    ]
    told = ", ".join(f"{card / 10}" for card in sorted(ready))
    print(
        f"\nlibmxnet.so has machine code for {told}; to be translated: "
        f"{', '.join(map(str, sorted(translated))) or 'none'}. Cards on which this and "
        f"cuda11.refusal disagree: {wrong or 'none'}. Libraries without code for a "
        f"card that is served: {', '.join(gaps) or 'none'}.",
        flush=True,
    )
    return len(wrong) + len(gaps)


# --- compiling and importing ----------------------------------------------------------

COMPILE = """
import ctypes
from d2lutils._compat import cuda11

path = next(x.path for x in cuda11.LIBRARIES if x.name.startswith("libnvrtc"))
nvrtc = ctypes.CDLL(str(path))
major, minor = ctypes.c_int(), ctypes.c_int()
assert nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
source = b'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }'
cards = 50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89
for card in cards:
    program = ctypes.c_void_p()
    nothing = (source, b"twice.cu", 0, None, None)
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), *nothing) == 0
    option = f"--gpu-architecture=compute_{card}".encode()
    code = nvrtc.nvrtcCompileProgram(program, 1, (ctypes.c_char_p * 1)(option))
    assert code == 0, f"NVRTC does not compile for {card}: error {code}"
    assert nvrtc.nvrtcDestroyProgram(ctypes.byref(program)) == 0
told = ", ".join(f"{card / 10}" for card in cards)
print(f"NVRTC {major.value}.{minor.value} compiles for {told}")
"""
NO_DRIVER = """
try:
    import d2lutils.compat
except ImportError as error:
    print(error)
else:
    raise SystemExit("imported, though there is no driver")
"""
IMPORTED = """
from d2lutils.compat import mx
from d2lutils.gluon.devices import try_gpu, why_no_gpu

assert mx.runtime.Features().is_enabled("CUDA")
assert mx.runtime.Features().is_enabled("CUDNN")
net = mx.gluon.nn.HybridSequential()
net.add(mx.gluon.nn.Conv2D(8, 3), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(2))
net.initialize()
net.hybridize()
with mx.autograd.record():
    total = net(mx.nd.ones((4, 3, 8, 8))).sum()
total.backward()
assert abs(mx.nd.ones((5, 2)).sum().asscalar() - 10) < 1e-6
mx.nd.waitall()
print("a net trains on the CPU")
print(f"GPUs: {mx.context.num_gpus()}; try_gpu: {try_gpu()}; why: {why_no_gpu()}")
"""


def compiles() -> list[str]:
    """Let NVRTC compile for all cards; return what went wrong."""
    result = python(COMPILE, "-W", "error")
    print(f"\n{result.stdout}", end="", flush=True)
    return [result.stderr] if result.returncode else []


def has_driver() -> bool:
    return cuda11.DRIVER in system_libraries()


def stand_in(symbols: Iterable[str], folder: Path) -> str:
    """Compile a driver that has no card; return what went wrong."""
    compiler = shutil.which("cc")
    if not compiler:
        return "no C compiler here"
    special = {
        # 12.0: a driver younger than the build. 100: no device.
        "cuDriverGetVersion": "int cuDriverGetVersion(int *v) {*v = 12000; return 0; }",
        "cuInit": "int cuInit(unsigned flags) { return 100; }",
    }
    rest = {name: f"int {name}(void) {{ return 100; }}" for name in symbols}
    source = folder / "driver.c"
    source.write_text("\n".join((rest | special).values()) + "\n")
    result = subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", f"-Wl,-soname,{cuda11.DRIVER}"),
            *("-o", str(folder / cuda11.DRIVER), str(source)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stderr if result.returncode else ""


def imports(symbols: Iterable[str], folder: Path) -> list[str]:
    """Import MXNet in the environment; return what is not as it should be."""
    if has_driver():
        result = python(IMPORTED, "-W", "error")
        print(f"\nWith this machine's driver:\n{result.stdout}", flush=True)
        return [result.stderr] if result.returncode else []
    problems = []
    result = python(NO_DRIVER, "-W", "error")
    print(f"\nWithout a driver:\n{result.stdout}", flush=True)
    if result.returncode or cuda11.DRIVER not in result.stdout:
        problems.append(result.stderr or "the error does not name the driver")
    trouble = stand_in(symbols, folder)
    if trouble:
        print(f"With a stand-in for the driver: not tried: {trouble}", flush=True)
        return problems
    result = python(IMPORTED, "-W", "error", LD_LIBRARY_PATH=str(folder))
    print(f"With a stand-in for the driver:\n{result.stdout}", flush=True)
    if result.returncode or "GPUs: 0; try_gpu: cpu(0)" not in result.stdout:
        problems.append(result.stderr or "a card was found where there is none")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolve", type=Path, help=argparse.SUPPRESS)
    resolving = parser.parse_args().resolve
    if resolving:
        return resolve(resolving)
    problems = build()
    if not problems:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            symbols = folder / "symbols"
            command = [str(PYTHON), str(Path(__file__)), "--resolve", str(symbols)]
            if subprocess.call(command):
                problems.append("something is missing or wrong: see above")
            else:
                problems += compiles()
                problems += imports(symbols.read_text().split(), folder)
    for problem in problems:
        print(f"RED: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
