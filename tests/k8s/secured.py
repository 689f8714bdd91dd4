"""A real broker as k8s/components/kafka-cluster describes it, in small: TLS, SCRAM, rights from base/kafka/users.yaml.

Strimzi's user operator turns each KafkaUser into SCRAM credentials and ACLs; here `Broker` does the same by hand.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.login import MECHANISM, KafkaLogin
from andon_chassis.errors import Unavailable
from andon_local import install
from andon_local.components import components
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADMIN = "admin"
TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}
OPERATIONS = {
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
}


def password(user: str) -> str:
    return f"{user}-secret"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and a broker's key with its certificate, both PEM."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: Any, issuer: str, issuer_key: Any, authority: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
        )
        return builder.sign(issuer_key, hashes.SHA256())

    authority_key, broker_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate("authority", authority_key, "authority", authority_key, True)
    broker = certificate("broker", broker_key, "authority", authority_key, False)
    pem = serialization.Encoding.PEM
    ca_file, broker_file = folder / "ca.pem", folder / "broker.pem"
    ca_file.write_bytes(authority.public_bytes(pem))
    key_bytes = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    broker_file.write_bytes(key_bytes + broker.public_bytes(pem) + authority.public_bytes(pem))
    return ca_file, broker_file


class Broker:
    """One broker that lets nobody do what was not granted."""

    def __init__(self, folder: Path, users: Sequence[dict[str, Any]]) -> None:
        install.ensure(["kafka"], quiet=True)
        libraries = components()["kafka"].folder / "libs"
        self.ca_file, broker_file = certificates(folder)
        port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        names = [user["metadata"]["name"] for user in users]
        properties = folder / "server.properties"
        properties.write_text(self._properties(folder, broker_file, port, controller))
        self._java = ["java", "-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-cp", f"{libraries}/*"]
        self._log = (folder / "broker.log").open("wb")
        scram = [f"{MECHANISM}=[name={name},password={password(name)}]" for name in (ADMIN, *names)]
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._run(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), *_each("-S", scram)
        )
        self._process = subprocess.Popen(
            [*self._java, "kafka.Kafka", str(properties)], stdout=self._log, stderr=subprocess.STDOUT
        )
        self._grant(users)

    def _run(self, *arguments: str) -> None:
        subprocess.run([*self._java, *arguments], stdout=self._log, stderr=subprocess.STDOUT, check=True)

    @staticmethod
    def _properties(folder: Path, broker_file: Path, port: int, controller: int) -> str:
        jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
sasl.enabled.mechanisms={MECHANISM}
sasl.mechanism.inter.broker.protocol={MECHANISM}
listener.name.client.scram-sha-512.sasl.jaas.config={jaas} username="{ADMIN}" password="{password(ADMIN)}";
ssl.keystore.type=PEM
ssl.keystore.location={broker_file}
ssl.truststore.type=PEM
ssl.truststore.location={folder / "ca.pem"}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{ADMIN};User:ANONYMOUS
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.dirs={folder / "data"}
"""

    def login(self, user: str, secret: str | None = None) -> KafkaLogin:
        return KafkaLogin(user, secret or password(user), self.ca_file)

    def bus(self, user: str) -> KafkaBus:
        return KafkaBus(self.bootstrap, self.login(user))

    def ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the broker ended, see {self._log.name}")
        try:
            self.bus(ADMIN).ping()
        except Unavailable:
            return False
        return True

    def _grant(self, users: Sequence[dict[str, Any]]) -> None:
        deadline = time.monotonic() + 90
        while not self.ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not answer, see {self._log.name}")
            time.sleep(0.2)
        bindings = [
            AclBinding(
                TYPES[acl["resource"]["type"]],
                acl["resource"]["name"],
                PATTERNS[acl["resource"].get("patternType", "literal")],
                f"User:{user['metadata']['name']}",
                "*",
                OPERATIONS[operation],
                AclPermissionType.ALLOW,
            )
            for user in users
            for acl in user["spec"]["authorization"]["acls"]
            for operation in acl["operations"]
        ]
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **self.login(ADMIN).config()})
        for future in admin.create_acls(bindings).values():
            future.result(30)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def _each(flag: str, values: Sequence[str]) -> list[str]:
    return [argument for value in values for argument in (flag, value)]
