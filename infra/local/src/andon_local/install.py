"""Installs the components at their pinned versions, in parallel, each into a folder of its own.

A folder counts only when its stamp is there, and the stamp is written last: an installation that was killed
half-way is thrown away and made again, a finished one is never touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from andon_local import debian, layout, warmup
from andon_local.components import Component, components
from andon_local.locks import locked
from andon_local.progress import Progress

_STAMP = ".complete"
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_JAVA_MINIMUM = 17

Say = Callable[[str], None]


class InstallError(Exception):
    """A component could not be installed; the text says why and what helps."""


def is_installed(component: Component) -> bool:
    """Whether this version is completely there."""
    return (component.folder / _STAMP).is_file()


def ensure(names: Iterable[str], *, quiet: bool = False) -> None:
    """Install whatever of the named components is missing.

    Raises InstallError naming every component that failed, after the others have finished.
    """
    wanted = [components()[name] for name in names]
    missing = [component for component in wanted if not is_installed(component)]
    if not missing:
        return
    problems = prerequisites(missing)
    if problems:
        raise InstallError("\n".join(problems))
    layout.tools_dir().mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    with (
        locked(layout.tools_dir() / ".lock"),
        Progress("Installing components", quiet=quiet) as progress,
        # The long compilation goes first; the rest is download and fits beside it.
        ThreadPoolExecutor(max_workers=len(missing)) as pool,
    ):
        for future in [
            pool.submit(_install, component, progress) for component in sorted(missing, key=_longest_first)
        ]:
            try:
                future.result()
            except (InstallError, OSError) as error:
                failures.append(str(error))
    if failures:
        raise InstallError("\n".join(failures))


def prerequisites(wanted: Sequence[Component]) -> list[str]:
    """What must be on this machine before anything can be installed, one sentence for each lack."""
    kinds = {str(component.install["kind"]) for component in wanted}
    problems = []
    if kinds & {"maven-classpath", "maven-archive"}:
        version = _java_version()
        if version is None:
            problems.append(f"java is missing: install a Java runtime, version {_JAVA_MINIMUM} or later")
        elif version < _JAVA_MINIMUM:
            problems.append(f"java is version {version}: version {_JAVA_MINIMUM} or later is needed")
        if shutil.which("mvn") is None:
            problems.append("mvn is missing: install Apache Maven 3.8 or later")
    if "go" in kinds and shutil.which("go") is None:
        problems.append("go is missing: install Go 1.24 or later")
    if "debian" in kinds and (shutil.which("apt-get") is None or shutil.which("dpkg") is None):
        names = ", ".join(component.name for component in wanted if component.install["kind"] == "debian")
        problems.append(f"{names}: neither on PATH nor installable here without apt-get; install it by hand")
    return problems


def _longest_first(component: Component) -> int:
    return ["go", "python", "maven-classpath", "maven-archive", "debian"].index(component.install["kind"])


def _install(component: Component, progress: Progress) -> None:
    if is_installed(component):  # another process may have held the lock and finished it
        return
    say = progress.begin(component.name, "starting")
    folder = component.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _KINDS[component.install["kind"]](component, folder, say)
        if component.name in _WARM_UP:
            say("running it once, so that it starts faster")
            _WARM_UP[component.name](folder)
    except (InstallError, OSError) as error:
        progress.failed(component.name, "not installed")
        raise InstallError(f"{component.name} {component.version}: {error}") from error
    (folder / _STAMP).write_text(component.version + "\n")
    progress.done(component.name, f"{component.title} {component.version} installed")


def _maven_classpath(component: Component, folder: Path, say: Say) -> None:
    _copy_dependencies(component.install["artifacts"], folder, say)


def _maven_archive(component: Component, folder: Path, say: Say) -> None:
    parent = component.install.get("absent_parent")
    # A repository of its own: the stand-in for the parent POM must never end up in the user's.
    _copy_dependencies(
        [component.install["artifact"]], folder, say, alone=True, parent=parent, repository=folder / ".m2"
    )
    shutil.rmtree(folder / ".m2", ignore_errors=True)
    archives = list((folder / "libs").glob("*.tar.gz"))
    if len(archives) != 1:
        raise InstallError(f"expected one archive, found {len(archives)}")
    say("unpacking")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder / "app", filter="data")
    archives[0].unlink()


def _copy_dependencies(
    artifacts: Sequence[str],
    folder: Path,
    say: Say,
    *,
    alone: bool = False,
    parent: str | None = None,
    repository: Path | None = None,
) -> None:
    """Let Maven copy the artifacts (and, unless ``alone``, what they depend on) into ``libs/``."""
    repositories = ""
    if parent is not None:
        group, artifact, version = parent.split(":")
        stub = folder / "stubs" / Path(*group.split(".")) / artifact / version / f"{artifact}-{version}.pom"
        stub.parent.mkdir(parents=True)
        stub.write_text(_pom(group, artifact, version))
        url = (folder / "stubs").as_uri()
        repositories = (
            f"<repositories><repository><id>stubs</id><url>{escape(url)}</url></repository></repositories>"
        )
    body = "".join(_dependency(artifact, alone=alone) for artifact in artifacts)
    pom = folder / "pom.xml"
    pom.write_text(_pom("local", "runtime", "1", repositories + f"<dependencies>{body}</dependencies>"))
    command = ["mvn", "-B", "-f", str(pom), _MAVEN_COPY, f"-DoutputDirectory={folder / 'libs'}"]
    command += ["-DincludeScope=runtime"]
    if repository is not None:
        command.append(f"-Dmaven.repo.local={repository}")
    count = 0

    def watch(line: str) -> None:
        nonlocal count
        if "Downloaded from" in line:
            count += 1
            say(f"{count} files downloaded")

    say("resolving")
    run(command, folder / "install.log", on_line=watch)


def _pom(group: str, artifact: str, version: str, body: str = "") -> str:
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        f"<packaging>pom</packaging>{body}</project>"
    )


def _dependency(coordinates: str, *, alone: bool) -> str:
    group, artifact, version, *rest = coordinates.split(":")
    text = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
    if rest:
        text += f"<type>{rest[0]}</type>"
    if len(rest) > 1:
        text += f"<classifier>{rest[1]}</classifier>"
    if alone:
        text += (
            "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        )
    return f"<dependency>{text}</dependency>"


def _go(component: Component, folder: Path, say: Say) -> None:
    module = component.install["module"]
    fetched = built = 0

    def watch(line: str) -> None:
        nonlocal fetched, built
        if line.startswith("go: downloading"):
            fetched += 1
        else:
            built += 1
        say(f"{fetched} modules downloaded, {built} packages compiled")

    environment = {**os.environ, "GOBIN": str(folder / "bin"), "CGO_ENABLED": "0"}
    environment.pop("GOFLAGS", None)
    run(
        ["go", "install", "-v", "-trimpath", "-ldflags=-s -w", f"{module}@{component.version}"],
        folder / "install.log",
        env=environment,
        cwd=folder,
        on_line=watch,
    )
    if not any((folder / "bin").iterdir()):
        raise InstallError("go install wrote no program")


def _python(component: Component, folder: Path, say: Say) -> None:
    requirements = layout.root() / component.install["requirements"]
    uv = str(Path(sys.executable).parent / "uv")
    if not Path(uv).exists():
        raise InstallError("uv is missing beside this interpreter: run `make setup`")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["UV_LINK_MODE"] = environment.get("UV_LINK_MODE", "copy")
    install = [uv, "pip", "install", "--require-hashes", "--no-deps", "-r", str(requirements)]
    if component.install["layout"] == "folder":
        target = ["--target", str(folder / "site"), "--python", sys.executable]
    else:
        say("making the environment")
        run(
            [uv, "venv", "--python", sys.executable, str(folder / "env")],
            folder / "venv.log",
            env=environment,
        )
        target = ["--python", str(folder / "env" / "bin" / "python")]
    say("downloading")
    run([*install, *target], folder / "install.log", env=environment, on_line=lambda line: say(line.strip()))
    finish = _AFTER_PYTHON.get(component.name)
    if finish is not None:
        finish(folder)


def _finish_triton(folder: Path) -> None:
    """Put the Python backend's stub for this interpreter where the server looks for it.

    The stub is linked against a shared libpython of the same minor version.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    server = triton_package(folder) / "tritonserver"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stub.parent.parent.iterdir()))
        raise InstallError(f"Triton's Python backend has no stub for Python {version}, only for {known}")
    shutil.copy2(stub, server / "backends" / "python" / stub.name)
    for program in (server / "bin" / "tritonserver", server / "backends" / "python" / stub.name):
        program.chmod(0o755)
    environment = {**os.environ, "LD_LIBRARY_PATH": triton_libraries(folder)}
    linked = subprocess.run(["ldd", str(stub)], capture_output=True, text=True, check=False, env=environment)
    lost = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
    if lost:
        raise InstallError(
            f"Triton's Python backend misses {', '.join(lost)}: use a Python built with a shared library "
            f"(Debian: apt-get install libpython{version})"
        )
    link = layout.triton_link()
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(folder / "env")


def triton_package(folder: Path) -> Path:
    """The folder of the package that brings Triton."""
    return next((folder / "env" / "lib").glob("python3*")) / "site-packages" / "pytriton"


def triton_libraries(folder: Path) -> str:
    """``LD_LIBRARY_PATH`` for Triton: the package's bundled libraries, then this Python's own."""
    import sysconfig

    own = sysconfig.get_config_var("LIBDIR")
    bundled = triton_package(folder).parent / "nvidia_pytriton.libs"
    return os.pathsep.join([str(bundled), *([str(own)] if own else [])])


def _debian(component: Component, folder: Path, say: Say) -> None:
    try:
        debian.unpack(component.install["packages"], folder, say, run)
    except debian.DebianError as error:
        raise InstallError(str(error)) from error
    if not (folder / "root" / component.install["program"]).is_file():
        raise InstallError(f"the packages hold no {component.install['program']}")


_KINDS: dict[str, Callable[[Component, Path, Say], None]] = {
    "maven-classpath": _maven_classpath,
    "maven-archive": _maven_archive,
    "go": _go,
    "python": _python,
    "debian": _debian,
}

_WARM_UP: dict[str, Callable[[Path], None]] = {"kafka": warmup.kafka, "registry": warmup.registry}

_AFTER_PYTHON: dict[str, Callable[[Path], None]] = {"triton": _finish_triton}


def run(
    command: Sequence[str],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run a command with its output in ``log``; each line is also given to ``on_line``.

    Raises InstallError with the last lines when it fails. The command dies with this process's interrupt.
    """
    with log.open("a") as out:
        process: subprocess.Popen[Any] = subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
        )
        tail: list[str] = []
        assert process.stdout is not None
        try:
            for line in process.stdout:
                out.write(line)
                tail = [*tail[-11:], line]
                on_line(line)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if code != 0:
        raise InstallError(f"`{command[0]}` ended with {code}; see {log}\n{''.join(tail)}")


_java_lock = threading.Lock()


def _java_version() -> int | None:
    """The major version of the java on PATH; None when there is none."""
    if shutil.which("java") is None:
        return None
    with _java_lock:
        text = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if found is None:
        return None
    major = int(found.group(1))
    return int(found.group(2)) if major == 1 and found.group(2) else major
