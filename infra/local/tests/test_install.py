"""Installation: what is missing is named, what was left half-done is made again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from andon_local import cli, install, layout
from andon_local.components import Component, components, required, services
from andon_local.install import InstallError


def component(folder: Path, monkeypatch: pytest.MonkeyPatch, **spec: object) -> Component:
    monkeypatch.setattr(layout, "tools_dir", lambda: folder)
    return Component("probe", "Probe", "1", spec, {}, {}, False)


def test_every_version_is_pinned() -> None:
    for name in required():
        assert components()[name].version not in ("latest", "distribution"), name
        assert re.search(r"\d", components()[name].version), name


def test_services_name_components_and_services_that_exist() -> None:
    for service in services().values():
        assert set(service.needs) <= set(components()), service.name
        assert set(service.calls.values()) <= set(services()), service.name


def test_missing_tools_are_named_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    problems = "\n".join(install.prerequisites(list(components().values())))
    for word in ("java", "17", "mvn", "go", "apt-get"):
        assert word in problems


def test_half_an_installation_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = component(tmp_path, monkeypatch, kind="probe")
    (probe.folder / "libs").mkdir(parents=True)
    (probe.folder / "libs" / "half.jar").write_text("cut off he")
    monkeypatch.setitem(install._KINDS, "probe", lambda c, folder, say: (folder / "whole").touch())
    monkeypatch.setattr(install, "_longest_first", lambda c: 0)
    monkeypatch.setattr(install, "components", lambda: {"probe": probe})
    assert not install.is_installed(probe)

    install.ensure(["probe"], quiet=True)

    assert install.is_installed(probe)
    assert (probe.folder / "whole").exists() and not (probe.folder / "libs").exists()


def test_a_finished_installation_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = component(tmp_path, monkeypatch, kind="probe")
    calls: list[str] = []
    monkeypatch.setitem(install._KINDS, "probe", lambda c, folder, say: calls.append(c.name))
    monkeypatch.setattr(install, "_longest_first", lambda c: 0)
    monkeypatch.setattr(install, "components", lambda: {"probe": probe})
    install.ensure(["probe"], quiet=True)
    install.ensure(["probe"], quiet=True)
    assert calls == ["probe"]


def test_a_failed_installation_leaves_no_stamp_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = component(tmp_path, monkeypatch, kind="probe")

    def fails(c: Component, folder: Path, say: install.Say) -> None:
        install.run(["sh", "-c", "echo the disk is full; exit 3"], folder / "install.log")

    monkeypatch.setitem(install._KINDS, "probe", fails)
    monkeypatch.setattr(install, "_longest_first", lambda c: 0)
    monkeypatch.setattr(install, "components", lambda: {"probe": probe})
    with pytest.raises(InstallError, match=r"(?s)probe 1.*ended with 3.*the disk is full"):
        install.ensure(["probe"], quiet=True)
    assert not install.is_installed(probe)


def test_a_change_of_how_it_is_installed_is_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = component(tmp_path, monkeypatch, kind="go", module="a")
    other = component(tmp_path, monkeypatch, kind="go", module="b")
    assert one.folder != other.folder


@pytest.mark.parametrize(("options", "left"), [([], ["cache", "keys", "tools"]), (["--tools"], ["keys"])])
def test_cleaning_leaves_the_signing_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], left: list[str]
) -> None:
    monkeypatch.setattr(layout, "runtime_dir", lambda: tmp_path)
    for name in ("tools/kafka", "cache/demo", "keys"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "triton").symlink_to(tmp_path / "tools")
    assert cli.main(["clean", "--all", *options]) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if not path.is_symlink()) == left
    assert (tmp_path / "triton").is_symlink() is ("tools" in left)
