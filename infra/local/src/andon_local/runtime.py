"""The system on one machine, as named instances: start, look, break on purpose, stop.

>>> from andon_local import runtime
>>> instance = runtime.start("test", components=["kafka", "registry"])  # doctest: +SKIP
>>> instance.endpoints.kafka  # doctest: +SKIP
'127.0.0.1:24817'
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil

from andon_local import environment, install, layout, people, ports, provision
from andon_local.components import components, required, services
from andon_local.endpoints import Endpoints, http_port_name, program_name
from andon_local.environment import ADMIN_ROLE
from andon_local.faults import Network
from andon_local.locks import locked
from andon_local.programs import (
    NotReadyError,
    Place,
    Program,
    common_environment,
    component_program,
    database_url,
    prepare,
    release_keys,
    service_environment,
    service_program,
    triton_models,
)
from andon_local.progress import Progress
from andon_local.supervision import Status, SupervisionError, Supervisor, new_password

READY_SECONDS = 180.0
_POLL_S = 0.1
_MAX_REPLICAS = 4


class NotRunningError(Exception):
    """The instance is not up."""


class Instance:
    """A running instance. Made by `start` or `attach`."""

    def __init__(self, place: Place, supervisor: Supervisor) -> None:
        self._place = place
        self._supervisor = supervisor

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._place.name

    @property
    def folder(self) -> Path:
        """Where its data, logs and configuration lie."""
        return self._place.folder

    @property
    def endpoints(self) -> Endpoints:
        """Where its components and services answer."""
        return self._place.endpoints

    @property
    def triton_models(self) -> Path:
        """Triton's model repository."""
        return triton_models(self._place)

    @property
    def network(self) -> Network:
        """Cuts and mends the lines to the components; needs the component toxiproxy."""
        return Network(self.endpoints.toxiproxy)

    def secret(self, name: str) -> str:
        """One of the generated secrets: webhook, s3-access, s3-secret, s3-training, postgres, role-<schema>,
        registry-token, person-<name>."""
        return self._place.secrets[name]

    @property
    def passwords(self) -> dict[str, str]:
        """First passwords of the people who may sign in, by name."""
        return people.passwords(self._place.secrets)

    def service_env(self, service: str, replica: int = 1) -> dict[str, str]:
        """The environment a service is started with."""
        return service_environment(self._place, services()[service], replica)

    def admin_env(self) -> dict[str, str]:
        """The environment of a person or test with all rights; its database URL is the superuser's."""
        environment = {
            **common_environment(self._place),
            "ANDON_DATABASE_URL": database_url(self._place, ADMIN_ROLE),
            "ANDON_TRITON_HTTP_URL": self.endpoints.triton_http,
            "ANDON_WEBHOOK_SECRET": self._place.secrets["webhook"],
            "ANDON_INGEST_URL": self.endpoints.http("capture-ingest"),
            "ANDON_REGISTRY_API_URL": self.endpoints.http("dataset-registry"),
            "ANDON_REGISTRY_TOKEN": self._place.secrets[people.TOKEN],
            "ANDON_MES_BRIDGE_URL": self.endpoints.http("mes-bridge"),
            "ANDON_CONSOLE_URL": self.endpoints.http("console"),
        }
        for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONUNBUFFERED"):
            del environment[key]
        return environment

    def training_env(self) -> dict[str, str]:
        """The environment of whoever trains: no database, no way into the registry, and a key that opens no holdout."""
        environment = self.admin_env()
        del environment["ANDON_DATABASE_URL"], environment["ANDON_REGISTRY_TOKEN"]
        return environment | {
            "ANDON_S3_ACCESS_KEY": provision.TRAINING_KEY,
            "ANDON_S3_SECRET_KEY": self._place.secrets["s3-training"],
        }

    def database_url(self, role: str = ADMIN_ROLE) -> str:
        """How a role (a schema's name, or the administrator) reaches PostgreSQL."""
        return database_url(self._place, role)

    def status(self) -> dict[str, Status]:
        """All programs of the instance by name."""
        return self._supervisor.status()

    def log(self, program: str) -> Path:
        """The log file of a program."""
        return self._supervisor.log(program)

    def pid(self, program: str) -> int:
        """Process id of a running program. Raises NotRunningError when it does not run."""
        status = self.status().get(program)
        if status is None or not status.pid:
            raise NotRunningError(f"{program} does not run")
        return status.pid

    def replicas(self, service: str) -> list[str]:
        """The program names of a service's replicas that run now."""
        status = self.status()
        names = [program_name(service, number) for number in range(1, _MAX_REPLICAS + 1)]
        return [name for name in names if name in status and status[name].pid]

    def kill(self, program: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a program, by default the one it cannot catch; returns the process id it had.

        The supervisor starts it again.
        """
        pid = self.pid(program)
        os.kill(pid, number)
        return pid

    def restart(self, program: str) -> None:
        """Stop a program in good order, start it and wait until it is ready."""
        self._supervisor.stop(program)
        self._supervisor.launch(program)
        self.wait_ready(program)

    def stop_program(self, program: str) -> None:
        """Stop one program and leave it stopped."""
        self._supervisor.stop(program)

    def start_program(self, program: str) -> None:
        """Start a stopped program and wait until it is ready."""
        self._supervisor.launch(program)
        self.wait_ready(program)

    def wait_ready(self, program: str, seconds: float = READY_SECONDS) -> float:
        """Wait until a program does its work; returns how long that took, in seconds.

        Raises SupervisionError with the end of its log when it does not within ``seconds``.
        """
        return _wait_ready(self._supervisor, self._program(program), seconds)

    def start_service(
        self, service: str, *, env: Mapping[str, str] | None = None, replicas: int = 1, wait: bool = True
    ) -> None:
        """Start a service, or change its settings or number of replicas; fewer replicas stop the others."""
        wanted = [
            service_program(self._place, services()[service], number, env or {})
            for number in range(1, replicas + 1)
        ]
        self._supervisor.define(wanted)
        for program in wanted:
            self._supervisor.launch(program.name)
        for name in self.replicas(service)[replicas:]:
            self._supervisor.stop(name)
        if wait:
            for program in wanted:
                _wait_ready(self._supervisor, program, READY_SECONDS)

    def memory_mb(self, program: str) -> float:
        """Resident memory of a program with its children, in MB."""
        process = psutil.Process(self.pid(program))
        family = [process, *process.children(recursive=True)]
        return float(sum(member.memory_info().rss for member in family)) / 1e6

    def cpu_seconds(self, program: str) -> float:
        """CPU time a program and its children have used since it started, in seconds."""
        process = psutil.Process(self.pid(program))
        family = [process, *process.children(recursive=True)]
        return float(sum(sum(member.cpu_times()[:2]) for member in family))

    def stop(self) -> None:
        """Stop everything and leave no process; data stay."""
        stop(self.name)

    def _program(self, name: str) -> Program:
        if name in components():
            return component_program(self._place, name)
        for service in services().values():
            for number in range(1, _MAX_REPLICAS + 1):
                if program_name(service.name, number) == name:
                    return service_program(self._place, service, number, {})
        raise KeyError(f"no component or service is called {name}")


def start(
    name: str,
    *,
    components: Sequence[str] | None = None,
    services: Sequence[str] = (),
    replicas: Mapping[str, int] | None = None,
    env: Mapping[str, Mapping[str, str]] | None = None,
    behind_proxies: bool = False,
    fixed_ports: Mapping[str, int] | None = None,
    quiet: bool = False,
) -> Instance:
    """Bring an instance up, or add to one that is up; returns when all that was asked for is ready.

    Args:
        components: What of the infrastructure to start; by default all that the system needs.
        services: Which services to start on it.
        replicas: How many of a service; one by default.
        env: Settings for a service that differ from the usual ones.
        behind_proxies: Services reach the components through toxiproxy, so that the network can be cut.
        fixed_ports: Ports by name instead of free ones.

    Raises InstallError, SupervisionError or PortsTakenError.
    """
    wanted = list(required() if components is None else components)
    if behind_proxies and "toxiproxy" not in wanted:
        wanted.append("toxiproxy")
    install.ensure(wanted, quiet=quiet)
    folder = layout.instances_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        supervisor, place = _supervised(name, folder, wanted, behind_proxies, fixed_ports or {})
        _bring_up(supervisor, place, wanted, services, replicas or {}, env or {}, quiet=quiet)
        instance = Instance(place, supervisor)
        _write_env(instance)
    return instance


def attach(name: str) -> Instance:
    """The instance that is up under this name. Raises NotRunningError."""
    folder = layout.instances_dir() / name
    state = _read(folder / "endpoints.json")
    if state is None:
        raise NotRunningError(f"there is no instance {name}")
    supervisor = _supervisor(name, folder, state)
    if not supervisor.is_alive():
        raise NotRunningError(f"instance {name} is not up")
    return Instance(_place(name, folder, state), supervisor)


def stop(name: str) -> None:
    """Stop an instance, also one whose supervisor was killed; returns when no process of it is left."""
    folder = layout.instances_dir() / name
    state = _read(folder / "endpoints.json")
    if state is None:
        return
    with locked(folder / ".lock"):
        # Services first: they finish what they hold and commit it while the infrastructure is there.
        order = [
            [
                program_name(service, number)
                for service in services()
                for number in range(1, _MAX_REPLICAS + 1)
            ],
            ["toxiproxy"],
            list(components()),
        ]
        _supervisor(name, folder, state).shut_down(order)
        shutil.rmtree(layout.kept_objects(name), ignore_errors=True)


def names() -> list[str]:
    """All instances of this checkout, up or not."""
    return sorted(path.parent.name for path in layout.instances_dir().glob("*/endpoints.json"))


def remove(name: str) -> None:
    """Stop an instance and delete its data."""
    stop(name)
    shutil.rmtree(layout.instances_dir() / name, ignore_errors=True)


def _supervised(
    name: str, folder: Path, wanted: Sequence[str], behind_proxies: bool, fixed: Mapping[str, int]
) -> tuple[Supervisor, Place]:
    """The instance's supervisor, running, and its place with ports and secrets."""
    state = _read(folder / "endpoints.json")
    if state is not None:
        supervisor = _supervisor(name, folder, state)
        if supervisor.is_alive():
            _ensure_secrets(folder / "secrets.json")
            state["components"] = sorted({*_place(name, folder, state).components, *wanted})
            state["behind_proxies"] = behind_proxies
            _write(folder / "endpoints.json", state)
            return supervisor, _place(name, folder, state)
        supervisor.sweep()
    chosen = ports.choose(
        folder,
        ["supervisor", *_port_names()],
        remembered=_place(name, folder, state).endpoints.ports if state else {},
        fixed={**ports.from_environment(), **fixed},
    )
    state = {
        "name": name,
        "ports": chosen,
        "components": sorted(wanted),
        "behind_proxies": behind_proxies,
    }
    _ensure_secrets(folder / "secrets.json")
    _write(folder / "endpoints.json", state)
    supervisor = _supervisor(name, folder, state)
    supervisor.start()
    return supervisor, _place(name, folder, state)


def _port_names() -> list[str]:
    names = [port for component in components().values() for port in component.ports]
    names += [
        http_port_name(service, number) for service in services() for number in range(1, _MAX_REPLICAS + 1)
    ]
    return names


def _supervisor(name: str, folder: Path, state: Mapping[str, object]) -> Supervisor:
    numbers = state["ports"]
    assert isinstance(numbers, Mapping)
    return Supervisor(name, folder, int(numbers["supervisor"]), _secrets(folder)["supervisor"])


def _place(name: str, folder: Path, state: Mapping[str, object]) -> Place:
    numbers, started = state["ports"], state["components"]
    assert isinstance(numbers, Mapping) and isinstance(started, Iterable)
    endpoints = Endpoints(dict(numbers), behind_proxies=bool(state["behind_proxies"]))
    return Place(name, folder, endpoints, _secrets(folder), frozenset(started))


def _bring_up(
    supervisor: Supervisor,
    place: Place,
    wanted: Sequence[str],
    asked_services: Sequence[str],
    replicas: Mapping[str, int],
    env: Mapping[str, Mapping[str, str]],
    *,
    quiet: bool,
) -> None:
    """Start what does not run: components in parallel, then what services find in place, then services."""
    running = {name for name, status in supervisor.status().items() if status.pid}
    with Progress(f"Starting {place.name}", quiet=quiet) as progress:
        # Preparing (formatting, initdb) is part of the start, so it runs in the pool as well.
        _start_all(supervisor, [name for name in wanted if name not in running], place, progress)
        fresh = [name for name in wanted if name not in running]
        direct = place.endpoints.direct
        if "postgres" in fresh:
            passwords = {role: place.secrets[f"role-{role}"] for role in provision.roles()}
            admin_url = environment.database_url(direct, place.secrets, ADMIN_ROLE)
            provision.database(admin_url, passwords)
        if "minio" in fresh:
            store = (direct.s3, place.secrets["s3-access"], place.secrets["s3-secret"])
            provision.objects(*store)
            provision.training(*store, place.secrets["s3-training"])
        started = {*wanted, *running}
        if {"kafka", "registry"} <= started and (fresh or asked_services):
            progress.begin("topics", "from the topic documents")
            progress.done("topics", provision.topics(direct.kafka, direct.registry))
        programs = [
            service_program(place, services()[name], number, env.get(name, {}))
            for name in asked_services
            for number in range(1, replicas.get(name, services()[name].replicas) + 1)
        ]
        if "inference" in asked_services and not (release_keys() / "release.pub").exists():
            # A first start has no releases yet, but inference wants to know whose it may trust.
            prepare(
                [layout.python(), "-m", "trainer", "keys", "--out", str(release_keys())],
                place.folder / "logs" / "keys.log",
            )
        if programs:
            supervisor.define(programs)
            _launch_all(supervisor, programs, progress)
        if "dataset-registry" in asked_services:
            _admit(place)


def _admit(place: Place) -> None:
    """Let the instance's people sign in; who has changed meanwhile stays as they are."""
    command = [layout.python(), "-m", "dataset_registry.accounts", "provision"]
    told = service_environment(place, services()["dataset-registry"], 1)
    wanted = json.dumps(people.accounts(place.secrets))
    prepare(command, place.folder / "logs" / "accounts.log", stdin=wanted, env=told)


def _start_all(supervisor: Supervisor, names: Sequence[str], place: Place, progress: Progress) -> None:
    if not names:
        return
    lock = threading.Lock()

    def one(name: str) -> None:
        progress.begin(name, "preparing")
        try:
            program = component_program(place, name)
            with lock:
                supervisor.define([program])
            supervisor.launch(name)
            _wait_ready(supervisor, program, READY_SECONDS)
        except Exception:
            progress.failed(name, "not ready")
            raise
        progress.done(name)

    _in_parallel(one, names)


def _launch_all(supervisor: Supervisor, programs: Sequence[Program], progress: Progress) -> None:
    by_name = {program.name: program for program in programs}

    def one(name: str) -> None:
        progress.begin(name, "starting")
        try:
            supervisor.launch(name)
            _wait_ready(supervisor, by_name[name], READY_SECONDS)
        except Exception:
            progress.failed(name, "not ready")
            raise
        progress.done(name)

    _in_parallel(one, list(by_name))


def _in_parallel(work: Callable[[str], None], names: Sequence[str]) -> None:
    """Do the work for every name; the first failure is raised after all have ended."""
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        futures: list[Future[None]] = [pool.submit(work, name) for name in names]
    for future in futures:
        future.result()


def _wait_ready(supervisor: Supervisor, program: Program, seconds: float) -> float:
    started = time.monotonic()
    why = "it was not asked yet"
    while time.monotonic() - started < seconds:
        status = supervisor.status().get(program.name)
        if status is None or status.given_up or status.state == "STOPPED":
            why = f"the supervisor says {status.state if status else 'it is unknown'}"
            break
        try:
            program.ready()
        except (NotReadyError, OSError) as error:
            why = str(error)
            time.sleep(_POLL_S)
            continue
        return time.monotonic() - started
    raise SupervisionError(f"{program.name} is not ready: {why}\n{_tail(supervisor.log(program.name))}")


def _tail(path: Path, lines: int = 25) -> str:
    if not path.exists():
        return f"({path} is not there)"
    return f"--- end of {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _write_env(instance: Instance) -> None:
    """A file a shell can source to act as the instance's administrator, with the environment's own `python` first."""
    lines = [f"export {key}={shlex.quote(value)}\n" for key, value in sorted(instance.admin_env().items())]
    programs = shlex.quote(str(Path(layout.python()).parent))
    file = instance.folder / "env"
    file.touch(mode=0o600)
    file.write_text("".join(lines) + f"export PATH={programs}:$PATH\n")


def _ensure_secrets(path: Path) -> None:
    known = _read(path) or {}
    roles = [f"role-{service.database}" for service in services().values() if service.database]
    for key in ["supervisor", "postgres", "s3-access", "s3-secret", "s3-training", *roles]:
        known.setdefault(key, new_password())
    for key, made in people.new_secrets().items():
        known.setdefault(key, made)
    known.setdefault("webhook", "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode())
    path.touch(mode=0o600)
    _write(path, known)


def _secrets(folder: Path) -> dict[str, str]:
    return {key: str(value) for key, value in (_read(folder / "secrets.json") or {}).items()}


def _read(path: Path) -> dict[str, object] | None:
    if not path.exists():
        return None
    loaded = json.loads(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def _write(path: Path, document: Mapping[str, object]) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(document, indent=1, sort_keys=True))
    draft.replace(path)
