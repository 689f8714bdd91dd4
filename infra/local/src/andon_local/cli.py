"""The command line: setup, up, status, logs, down, clean."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence

import psutil
from rich.console import Console
from rich.table import Table

from andon_local import install, layout, provision, runtime
from andon_local.components import components, required, services
from andon_local.people import STAFF
from andon_local.ports import PortsTakenError
from andon_local.supervision import SupervisionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (
        install.InstallError,
        SupervisionError,
        PortsTakenError,
        runtime.NotRunningError,
        OSError,
    ) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m andon_local", description=__doc__)
    commands = parser.add_subparsers(required=True)

    setup = commands.add_parser("setup", help="install the components (what is there already is kept)")
    setup.add_argument("--only", type=_names, help="comma-separated components")
    setup.add_argument("--optional", action="store_true", help="also what only tests and demos use")
    setup.set_defaults(command=_setup)

    up = commands.add_parser("up", help="start an instance, or add to a running one")
    _instance_option(up)
    up.add_argument("--only", type=_names, help="comma-separated components; by default all the system needs")
    up.add_argument(
        "--services", type=_names, help="comma-separated services; `all` for every one", default=[]
    )
    up.add_argument(
        "--port", action="append", default=[], metavar="NAME=PORT", help="a fixed port, e.g. kafka=9092"
    )
    up.set_defaults(command=_up)

    status = commands.add_parser("status", help="what runs where")
    status.add_argument("--instance", help="only this instance")
    status.set_defaults(command=_status)

    logs = commands.add_parser("logs", help="follow the log of a program")
    _instance_option(logs)
    logs.add_argument("program")
    logs.set_defaults(command=_logs)

    down = commands.add_parser("down", help="stop; data stay")
    _instance_option(down)
    down.add_argument("--all", action="store_true", help="every instance of this checkout")
    down.set_defaults(command=_down)

    provisioning = commands.add_parser("provision", help="make roles, buckets and topics where ANDON_* says")
    provisioning.set_defaults(command=_provision)

    clean = commands.add_parser("clean", help="stop and delete the data")
    _instance_option(clean)
    clean.add_argument("--all", action="store_true", help="every instance of this checkout")
    clean.add_argument(
        "--tools", action="store_true", help="what was downloaded and built too; signing keys stay"
    )
    clean.set_defaults(command=_clean)
    return parser


def _instance_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instance", default="service", help="name of the instance (default: service)")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _setup(options: argparse.Namespace) -> int:
    names = options.only or (list(components()) if options.optional else list(required()))
    _known(names, components())
    install.ensure(names)
    for name in names:
        print(f"{components()[name].title} {components()[name].version}")
    return 0


def _up(options: argparse.Namespace) -> int:
    asked = list(services()) if options.services == ["all"] else options.services
    _known(options.only or [], components())
    _known(asked, services())
    fixed = {name: int(port) for name, _, port in (text.partition("=") for text in options.port)}
    instance = runtime.start(options.instance, components=options.only, services=asked, fixed_ports=fixed)
    shown = _status(options)
    if "console" in asked:
        print(f"console: {instance.endpoints.http('console')}")
    if {"dataset-registry", "capture-ingest"} <= set(asked):
        print(f"addresses and keys for your shell: source {instance.folder / 'env'}")
        print(f"nothing in force yet? {layout.root() / 'docs' / 'guides' / 'first-station.md'}")
    return shown


def _known(names: Sequence[str], all_names: Collection[str]) -> None:
    for name in names:
        if name not in all_names:
            raise OSError(f"there is no {name}; known: {', '.join(all_names)}")


def _status(options: argparse.Namespace) -> int:
    console = Console(highlight=False)
    shown = [options.instance] if options.instance else runtime.names()
    up = 0
    for name in shown:
        try:
            instance = runtime.attach(name)
        except runtime.NotRunningError as error:
            console.print(str(error))
            continue
        up += 1
        table = Table(title=f"{name}", title_justify="left", box=None, pad_edge=False)
        for column in ("program", "state", "pid", "up", "memory", "where"):
            table.add_column(column)
        for program, status in sorted(instance.status().items()):
            memory = f"{psutil.Process(status.pid).memory_info().rss / 1e6:.0f} MB" if status.pid else ""
            where = _where(instance, program)
            table.add_row(
                program,
                status.state.lower(),
                str(status.pid or ""),
                f"{status.uptime_s:.0f} s",
                memory,
                where,
            )
        console.print(table)
        if "dataset-registry" in running(instance):
            console.print(sign_in_table(instance.passwords))
        console.print(f"logs: {instance.folder / 'logs'}", soft_wrap=True)
    if not shown:
        console.print("no instance")
    return 0 if up else 3


def running(instance: runtime.Instance) -> set[str]:
    """Names of the programs that run."""
    return {program for program, status in instance.status().items() if status.pid}


def sign_in_table(passwords: Mapping[str, str]) -> Table:
    """Who may sign in at the console, with the passwords they were given first."""
    table = Table(title="sign in as", title_justify="left", box=None, pad_edge=False)
    for column in ("name", "first password", "roles"):
        table.add_column(column)
    for person in STAFF:
        if person.name in passwords:
            table.add_row(person.name, passwords[person.name], ", ".join(person.roles))
    return table


def _where(instance: runtime.Instance, program: str) -> str:
    if program in components():
        return ", ".join(
            f"{name} {instance.endpoints.address(name)}"
            for name in components()[program].ports
            if not name.endswith(("-proxy", "-controller"))
        )
    return f"http://{instance.endpoints.address(f'http-{program}')}"


def _logs(options: argparse.Namespace) -> int:
    log = runtime.attach(options.instance).log(options.program)
    if not log.exists():
        raise OSError(f"there is no {log}")
    return subprocess.run(["tail", "-n", "100", "-f", str(log)], check=False).returncode


def _down(options: argparse.Namespace) -> int:
    for name in runtime.names() if options.all else [options.instance]:
        runtime.stop(name)
        print(f"{name} is down")
    return 0


def _provision(_options: argparse.Namespace) -> int:
    try:
        provision.from_environment()
    except KeyError as missing:
        raise provision.ProvisionError(f"set {missing.args[0]}") from missing
    return 0


def _clean(options: argparse.Namespace) -> int:
    for name in runtime.names() if options.all else [options.instance]:
        runtime.remove(name)
        print(f"{name} is removed")
    if options.tools:
        for folder in (layout.tools_dir(), layout.cache_dir()):
            shutil.rmtree(folder, ignore_errors=True)
        layout.triton_link().unlink(missing_ok=True)
    return 0
