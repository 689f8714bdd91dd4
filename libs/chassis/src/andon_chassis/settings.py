"""One place where a service learns where it runs: environment variables with the prefix ANDON_."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from andon_chassis.bus.login import KafkaLogin


class ServiceSettings(BaseSettings):
    """Settings that every service has; a service subclasses it with its own.

    Attributes:
        service: Name of the service, also its consumer group and the source of its events.
        instance_id: Names this running instance; part of its transactional id, so unique among replicas.
        kafka_username: Who logs in to Kafka, by SCRAM; nobody has to when it is empty.
        kafka_ca_file: Authorities that vouch for the brokers; with it all traffic to Kafka is encrypted.
        static_member: True where instance_id survives a restart (a supervisor's program, a StatefulSet's pod): the
            restarted instance takes up its own partitions at once, where others would wait for the session to
            time out. False where names change (a Deployment's pod): then leaving the group frees them at once.
        object_cache_dir: A folder that all services of this machine share, for objects written or read lately.
        object_cache_mb: How much is kept there.
        batch_max: Most events handled in one transaction.
        batch_linger_ms: How long an open batch waits for more events.
        patience_ms: How long the broker collects events for a state step before it hands them over. For services that
            are not on the way from a trigger to its disposition: theirs cost less the more come at once.
        shutdown_grace_s: Everything has stopped by then.
    """

    model_config = SettingsConfigDict(env_prefix="ANDON_", extra="ignore")

    service: str
    instance_id: str = f"{socket.gethostname()}-{os.getpid()}"
    static_member: bool = False
    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_username: str = ""
    kafka_password: str = ""
    kafka_ca_file: Path | None = None
    registry_url: str = "http://127.0.0.1:8081/apis/ccompat/v7"
    database_url: str = ""
    s3_endpoint: str = "http://127.0.0.1:9000"
    s3_access_key: str = ""
    s3_secret_key: str = ""
    object_cache_dir: Path | None = None
    object_cache_mb: int = 512
    http_host: str = "127.0.0.1"
    http_port: int = 0
    log_level: str = "INFO"
    trace_file: Path | None = None
    state_dir: Path = Path(".")
    batch_max: int = 200
    batch_linger_ms: float = 15.0
    patience_ms: float = 0.0
    shutdown_grace_s: float = 10.0

    def kafka_login(self) -> KafkaLogin | None:
        """How to log in to Kafka; None when the brokers let everybody in."""
        if not self.kafka_username:
            return None
        return KafkaLogin(self.kafka_username, self.kafka_password, self.kafka_ca_file)
