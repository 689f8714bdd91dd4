"""The dataset registry from Python: typed, repeated safely, streamed to and from files."""

from andon_registry_client import models
from andon_registry_client.client import RegistryClient
from andon_registry_client.files import Received
from andon_registry_client.problems import Problem, Unreachable

__all__ = ["Problem", "Received", "RegistryClient", "Unreachable", "models"]
