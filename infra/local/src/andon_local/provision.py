"""Makes what the services find in place: database schemas and roles, buckets, topics and subjects.

The same for every way of running the system; safe to run again at any time.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import urllib.parse
from collections.abc import Mapping

import psycopg
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from psycopg import sql

from andon_local import layout
from andon_local.components import buckets, services
from andon_local.environment import DATABASE

TRAINING = "registry_training"
"""Whoever trains: it logs in as a member of this role, and the registry grants it what no holdout can be read from."""
TRAINING_KEY = "training"
"""The access key of whoever trains: it opens what `training_policy` says, whatever else lies in the store."""


class ProvisionError(Exception):
    """Something the services need could not be made."""


def database(admin_url: str, passwords: Mapping[str, str]) -> None:
    """One database; for each owning service a schema and a login role that sees no other schema.

    ``passwords`` holds one for each role. Raises psycopg.Error.
    """
    name = sql.Identifier(DATABASE)
    with psycopg.connect(_other_database(admin_url, "postgres"), autocommit=True) as admin:
        if admin.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone() is None:
            admin.execute(sql.SQL("create database {}").format(name))
    with psycopg.connect(_other_database(admin_url, DATABASE)) as admin:
        admin.execute(sql.SQL("revoke all on database {} from public").format(name))
        admin.execute("revoke all on schema public from public")
        if admin.execute("select 1 from pg_roles where rolname = %s", [TRAINING]).fetchone() is None:
            admin.execute(sql.SQL("create role {} nologin").format(sql.Identifier(TRAINING)))
        admin.execute(sql.SQL("grant connect on database {} to {}").format(name, sql.Identifier(TRAINING)))
        for role_name in roles():
            role = sql.Identifier(role_name)
            known = admin.execute("select 1 from pg_roles where rolname = %s", [role_name]).fetchone()
            verb = sql.SQL("create role" if known is None else "alter role")
            rights = sql.SQL("login nosuperuser nocreatedb nocreaterole password")
            password = sql.Literal(passwords[role_name])
            admin.execute(sql.SQL("{} {} {} {}").format(verb, role, rights, password))
            admin.execute(sql.SQL("grant connect on database {} to {}").format(name, role))
            admin.execute(sql.SQL("create schema if not exists {} authorization {}").format(role, role))
            admin.execute(sql.SQL("alter role {} set search_path = {}").format(role, role))


def roles() -> list[str]:
    """The login roles, each the owner of the schema of the same name."""
    return [service.database for service in services().values() if service.database]


def objects(endpoint: str, access_key: str, secret_key: str) -> None:
    """The buckets; ``endpoint`` is the object store's base URL."""
    url = urllib.parse.urlsplit(endpoint)
    client = Minio(url.netloc, access_key=access_key, secret_key=secret_key, secure=url.scheme == "https")
    for bucket in buckets():
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)


def training_policy() -> dict[str, object]:
    """What training may do in any S3 service: read images and datasets, write models; never a holdout.

    Nothing can be listed: objects are named by their hashes, so only who was given a manifest finds its images.
    """
    read = [f"arn:aws:s3:::{bucket}/*" for bucket in ("images", "derived", "datasets", "models")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": read},
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::models/*"]},
            {
                "Effect": "Deny",
                "Action": ["s3:*"],
                "Resource": ["arn:aws:s3:::holdout", "arn:aws:s3:::holdout/*"],
            },
        ],
    }


def training(endpoint: str, access_key: str, secret_key: str, training_secret: str) -> None:
    """A key of its own for whoever trains, in a MinIO; for another S3 service its operator gives one this policy."""
    url = urllib.parse.urlsplit(endpoint)
    admin = MinioAdmin(
        endpoint=url.netloc,
        credentials=StaticProvider(access_key, secret_key),
        secure=url.scheme == "https",
    )
    admin.policy_add(TRAINING_KEY, policy=training_policy())
    admin.user_add(TRAINING_KEY, training_secret)
    admin.policy_set(TRAINING_KEY, user=TRAINING_KEY)


def topics(kafka: str, registry: str) -> str:
    """Topics and registry subjects, from the topic documents; returns what was done.

    Raises ProvisionError, also when the registry refuses a schema.
    """
    if importlib.util.find_spec("andon_chassis") is None:
        return "no topic documents on this machine"
    done = subprocess.run(
        [layout.python(), "-m", "andon_chassis.admin", "ensure"],
        env={**os.environ, "ANDON_KAFKA_BOOTSTRAP": kafka, "ANDON_REGISTRY_URL": registry},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ProvisionError(f"topics and subjects could not be made\n{done.stdout[-3000:]}")
    return done.stdout.strip()


def from_environment() -> None:
    """Provision what ``ANDON_*`` names, as a job beside containers does.

    A role's password is in ``ANDON_ROLE_PASSWORD_<ROLE>``, that of training's key in a MinIO in
    ``ANDON_S3_TRAINING_SECRET``. Raises KeyError naming a setting that is missing.
    """
    setting = os.environ
    passwords = {role: setting[f"ANDON_ROLE_PASSWORD_{role.upper()}"] for role in roles()}
    database(setting["ANDON_DATABASE_URL"], passwords)
    store = (setting["ANDON_S3_ENDPOINT"], setting["ANDON_S3_ACCESS_KEY"], setting["ANDON_S3_SECRET_KEY"])
    objects(*store)
    if secret := setting.get("ANDON_S3_TRAINING_SECRET"):
        training(*store, secret)
    print(topics(setting["ANDON_KAFKA_BOOTSTRAP"], setting["ANDON_REGISTRY_URL"]))


def _other_database(url: str, name: str) -> str:
    return urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()
