"""What the manifests promise beyond being valid: least rights, nothing forgotten, lines apart."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from andon_events.topics import TOPICS
from andon_local.components import services

Resource = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(services())
NEEDS = {"kafka": "kafka", "registry": "registry", "postgres": "postgres", "minio": "s3"}


def of_kind(rendered: tuple[Resource, ...], kind: str) -> dict[str, Resource]:
    return {r["metadata"]["name"]: r for r in rendered if r["kind"] == kind}


def pods(rendered: tuple[Resource, ...]) -> dict[str, Resource]:
    """Pod templates by the name of their workload."""
    workloads = {**of_kind(rendered, "Deployment"), **of_kind(rendered, "Job")}
    return {name: workload["spec"]["template"] for name, workload in workloads.items()}


def containers(rendered: tuple[Resource, ...]) -> Iterator[tuple[str, Resource]]:
    for name, pod in pods(rendered).items():
        for container in pod["spec"]["containers"]:
            yield name, container


class TestServices:
    def test_each_has_everything_it_needs_to_run(self, rendered: tuple[Resource, ...]) -> None:
        for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"):
            assert set(SERVICES) <= set(of_kind(rendered, kind)), kind

    @pytest.mark.parametrize("service", SERVICES)
    def test_names_its_version_and_its_dependencies(
        self, rendered: tuple[Resource, ...], service: str
    ) -> None:
        pod = pods(rendered)[service]
        project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())
        (image,) = (c["image"] for c in pod["spec"]["containers"] if c["name"] == "service")
        assert image == f"andonloop/{service}:{project['project']['version']}"
        labels = {key for key in pod["metadata"]["labels"] if key.startswith("andonloop/egress-")}
        needed = {f"andonloop/egress-{NEEDS[n]}" for n in services()[service].needs if n in NEEDS}
        assert needed <= labels

    @pytest.mark.parametrize("service", SERVICES)
    def test_is_told_what_the_local_runtime_tells_it(
        self, rendered: tuple[Resource, ...], service: str
    ) -> None:
        described = services()[service]
        (container,) = (c for c in pods(rendered)[service]["spec"]["containers"] if c["name"] == "service")
        told = {variable["name"] for variable in container["env"]}
        (config,) = {e["configMapRef"]["name"] for e in container["envFrom"]}
        told |= set(of_kind(rendered, "ConfigMap")[config]["data"])
        wanted = {"ANDON_KAFKA_BOOTSTRAP", "ANDON_REGISTRY_URL", "ANDON_SERVICE", "ANDON_INSTANCE_ID"}
        wanted |= {"ANDON_HTTP_HOST", "ANDON_HTTP_PORT", "ANDON_STATE_DIR"}
        wanted |= {"ANDON_DATABASE_URL"} if described.database else set()
        wanted |= (
            {"ANDON_S3_ENDPOINT", "ANDON_S3_ACCESS_KEY", "ANDON_S3_SECRET_KEY"}
            if "minio" in described.needs
            else set()
        )
        wanted |= {"ANDON_TRITON_URL"} if "triton" in described.needs else set()
        wanted |= {"ANDON_WEBHOOK_SECRET"} if "webhook" in described.secrets else set()
        wanted |= set(described.calls)
        assert wanted <= told

    def test_no_container_may_more_than_it_must(self, rendered: tuple[Resource, ...]) -> None:
        for name, pod in pods(rendered).items():
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False, name
            assert spec["securityContext"]["runAsNonRoot"] is True, name
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for name, container in containers(rendered):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["readOnlyRootFilesystem"] is True, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name

    def test_everything_that_stays_up_is_probed(self, rendered: tuple[Resource, ...]) -> None:
        for name, deployment in of_kind(rendered, "Deployment").items():
            for container in deployment["spec"]["template"]["spec"]["containers"]:
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name

    def test_images_have_versions(self, rendered: tuple[Resource, ...]) -> None:
        for name, container in containers(rendered):
            _, colon, tag = container["image"].rpartition(":")
            assert colon and tag not in {"", "latest"}, f"{name}: {container['image']}"


class TestRights:
    """The KafkaUsers against the topic documents."""

    def allowed(
        self, rendered: tuple[Resource, ...], operation: str, kind: str = "topic"
    ) -> dict[str, set[str]]:
        return {
            name: {
                acl["resource"]["name"]
                for acl in user["spec"]["authorization"]["acls"]
                if acl["resource"]["type"] == kind and operation in acl["operations"]
            }
            for name, user in of_kind(rendered, "KafkaUser").items()
        }

    def test_only_the_producer_writes_a_topic(self, rendered: tuple[Resource, ...]) -> None:
        writers = self.allowed(rendered, "Write")
        for topic in TOPICS.values():
            assert {name for name, topics in writers.items() if topic.name in topics} == {topic.producer}

    def test_only_its_consumers_read_a_topic(self, rendered: tuple[Resource, ...]) -> None:
        readers = self.allowed(rendered, "Read")
        transactional = {
            name for name, ids in self.allowed(rendered, "Write", "transactionalId").items() if ids
        }
        for topic in TOPICS.values():
            own_memory = {topic.producer} & transactional
            actual = {name for name, topics in readers.items() if topic.name in topics}
            assert actual == set(topic.consumers) | own_memory

    def test_nobody_may_everything(self, rendered: tuple[Resource, ...]) -> None:
        for name, user in of_kind(rendered, "KafkaUser").items():
            for acl in user["spec"]["authorization"]["acls"]:
                assert "All" not in acl["operations"]
                assert "Alter" not in acl["operations"]
                wild = acl["resource"]["name"] == "*"
                assert not wild or name in {"provision", "autoscaler"}
                assert not wild or not {"Read", "Write"} & set(acl["operations"])

    def test_each_consumer_has_its_group_and_its_dead_letters(self, rendered: tuple[Resource, ...]) -> None:
        groups, writes = self.allowed(rendered, "Read", "group"), self.allowed(rendered, "Write")
        for service in {consumer for topic in TOPICS.values() for consumer in topic.consumers}:
            assert service in groups[service]
            assert f"{service}.dead-letter" in writes[service]

    def test_every_topic_that_somebody_may_write_exists(self, rendered: tuple[Resource, ...]) -> None:
        declared = of_kind(rendered, "KafkaTopic")
        for topics in self.allowed(rendered, "Write").values():
            assert topics <= set(declared)
        for topic in TOPICS.values():
            assert declared[topic.name]["spec"]["partitions"] == topic.partitions


class TestNetwork:
    def test_each_need_has_its_policy(self, rendered: tuple[Resource, ...]) -> None:
        policies = of_kind(rendered, "NetworkPolicy").values()
        opened = {key for p in policies for key in p["spec"]["podSelector"].get("matchLabels", {})}
        asked = {key for pod in pods(rendered).values() for key in pod["metadata"]["labels"]}
        asked = {key for key in asked if key.startswith(("andonloop/egress-", "andonloop/ingress"))}
        assert asked <= opened
        assert {key for key in opened if key.startswith("andonloop/")} <= asked

    def test_nothing_is_open_by_default(self, rendered: tuple[Resource, ...]) -> None:
        deny = of_kind(rendered, "NetworkPolicy")["default-deny"]["spec"]
        assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
        assert "ingress" not in deny and "egress" not in deny
        for name, pod in pods(rendered).items():
            assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), name


class TestSecrets:
    def test_none_is_in_the_repository(self, rendered: tuple[Resource, ...]) -> None:
        assert of_kind(rendered, "Secret") == {}

    def test_each_one_is_explained(self, rendered: tuple[Resource, ...]) -> None:
        readme = (ROOT / "k8s" / "README.md").read_text()
        users = set(of_kind(rendered, "KafkaUser"))
        for name, container in containers(rendered):
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference is None or (reference["name"] in users and reference["key"] == "password"):
                    continue
                assert f"`{reference['name']}`" in readme, name
                assert reference["key"] in readme, f"{name}: {reference}"


class TestScaling:
    def test_follows_the_lag_of_what_a_service_reads(self, rendered: tuple[Resource, ...]) -> None:
        deployments = of_kind(rendered, "Deployment")
        scaled = of_kind(rendered, "ScaledObject")
        for name, scaler in scaled.items():
            assert scaler["spec"]["scaleTargetRef"]["name"] == name in deployments
            assert "replicas" not in deployments[name]["spec"], "a fixed number would fight the autoscaler"
            for trigger in scaler["spec"]["triggers"]:
                topic = TOPICS[trigger["metadata"]["topic"]]
                assert trigger["metadata"]["consumerGroup"] == name
                assert name in topic.consumers
                assert scaler["spec"]["maxReplicaCount"] <= topic.partitions
                assert scaler["spec"]["minReplicaCount"] >= 1
        assert "feedback-collector" not in scaled


class TestLines:
    def test_share_nothing(self, render: Callable[[str], tuple[Resource, ...]]) -> None:
        for line in ("line-a", "line-b"):
            other = {"line-a": "line-b", "line-b": "line-a"}[line]
            for resource in render(line):
                if resource["kind"] == "Namespace":
                    assert resource["metadata"]["name"] == f"andonloop-{line}"
                else:
                    assert resource["metadata"]["namespace"] == f"andonloop-{line}"
                assert other not in yaml.safe_dump(resource)

    def test_differ_where_the_lines_do(self, render: Callable[[str], tuple[Resource, ...]]) -> None:
        a, b = (of_kind(render(line), "Deployment") for line in ("line-a", "line-b"))
        assert a["capture-ingest"]["spec"]["replicas"] < b["capture-ingest"]["spec"]["replicas"]
        slow = {
            v["name"]: v.get("value")
            for v in b["feedback-collector"]["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        assert slow["ANDON_SLOW_MS"] == "500"
