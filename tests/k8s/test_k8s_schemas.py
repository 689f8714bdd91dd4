"""Every rendered resource against the real schema of its kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

Resource = dict[str, Any]
KUBERNETES = "1.33"
STRIMZI = "kafka.strimzi.io/"


def custom(resource: Resource) -> bool:
    group = resource["apiVersion"].partition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def closed(schema: Any) -> Any:
    """The schema with every object closed: the API server would drop a field it does not know, without a word."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get(
        "x-kubernetes-embedded-resource"
    )
    if isinstance(schema.get("properties"), dict) and "type" in schema and not open_ended:
        made.setdefault("additionalProperties", False)
    return made


def problems(resource: Resource, crds: dict[tuple[str, str], Resource]) -> list[str]:
    schema = copy.deepcopy(crds[resource["apiVersion"], resource["kind"]])
    schema["properties"] |= {"metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    validator = jsonschema.Draft202012Validator(closed(schema))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(resource)]


def test_kubernetes_own_resources(rendered: tuple[Resource, ...]) -> None:
    own = [resource for resource in rendered if not custom(resource)]
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "Job"} <= {
        r["kind"] for r in own
    }
    for resource in own:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_keda_and_cloudnativepg_resources(
    rendered: tuple[Resource, ...], crds: dict[tuple[str, str], Resource]
) -> None:
    others = [r for r in rendered if custom(r) and not r["apiVersion"].startswith(STRIMZI)]
    assert {"ScaledObject", "TriggerAuthentication", "Cluster", "Database"} == {r["kind"] for r in others}
    assert {r["metadata"]["name"]: found for r in others if (found := problems(r, crds))} == {}


def test_strimzi_resources(
    rendered: tuple[Resource, ...], strimzi: Callable[[list[Resource]], list[str]]
) -> None:
    ours = [r for r in rendered if r["apiVersion"].startswith(STRIMZI)]
    assert {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser"} == {r["kind"] for r in ours}
    assert strimzi(ours) == []


class TestTheChecksThemselves:
    """A check that never fails proves nothing."""

    def test_a_misspelt_field_of_kubernetes(self, render: Callable[[str], tuple[Resource, ...]]) -> None:
        deployment = copy.deepcopy(next(r for r in render("line-a") if r["kind"] == "Deployment"))
        deployment["spec"]["template"]["spec"]["contaners"] = []
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, KUBERNETES, strict=True)

    def test_a_misspelt_field_of_a_custom_resource(
        self, render: Callable[[str], tuple[Resource, ...]], crds: dict[tuple[str, str], Resource]
    ) -> None:
        for kind in ("Cluster", "ScaledObject"):
            resource = copy.deepcopy(next(r for r in render("line-a") if r["kind"] == kind))
            resource["spec"]["instancez"] = 3
            assert problems(resource, crds) != []

    def test_what_strimzi_does_not_know(self, strimzi: Callable[[list[Resource]], list[str]]) -> None:
        metadata = {"name": "wrong", "labels": {"strimzi.io/cluster": "andonloop"}}
        topic = {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "KafkaTopic",
            "metadata": metadata,
            "spec": {"partitions": 4, "replicaz": 3},
        }
        acl = {"resource": {"type": "topic", "name": "x"}, "operations": ["Readd"]}
        user = {
            "apiVersion": "kafka.strimzi.io/v1beta2",
            "kind": "KafkaUser",
            "metadata": metadata,
            "spec": {"authorization": {"type": "simple", "acls": [acl]}},
        }
        told = " ".join(strimzi([topic, user]))
        assert "replicaz: unknown field" in told
        assert '"Readd" is no value of it' in told
        assert "apiVersion is not kafka.strimzi.io/v1" in told
