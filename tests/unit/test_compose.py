"""docker-compose.yml runs what `tdsys up` runs, and is sound beyond what its schema can say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tdsys.embedded.programs import FLOWER_USER, MIGRATE, WORKERS, Program, programs
from tdsys.embedded.valkey import CONFIGURATION
from tdsys.wire import Queue

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
HOME = "/var/lib/tdsys"
SERVERS = {"postgres", "redis"}
PROGRAMS = (MIGRATE, *programs(Path(HOME)))
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
DURATION = re.compile(r"(\d+(us|ms|s|m|h))+")

Service = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = compose["services"]
    return found


def names_in_example() -> set[str]:
    return set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def variables() -> Iterator[tuple[str, str]]:
    """Every ${NAME...} of the file, with what follows the name."""
    for found in VARIABLE.finditer(COMPOSE.read_text()):
        yield found[1], found[2]


def test_the_file_fits_the_compose_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_the_two_servers_and_every_program_of_the_stack(
    services: dict[str, Service],
) -> None:
    assert set(services) == SERVERS | {program.name for program in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_service_runs_the_command_the_stack_runs(
    program: Program, services: dict[str, Service]
) -> None:
    assert services[program.name]["command"] == ["python", *program.arguments]
    assert services[program.name]["environment"].items() >= dict(program.environment).items()
    assert services[program.name]["environment"]["TDSYS_HOME"] == HOME


def test_every_queue_is_served_by_exactly_one_worker() -> None:
    served = Counter(queue for queues in WORKERS.values() for queue in queues)
    assert served == Counter(Queue)


def test_nothing_long_stands_before_captures() -> None:
    (serving,) = [queues for queues in WORKERS.values() if Queue.CAPTURE in queues]
    assert serving == (Queue.CAPTURE,)


def test_imports_and_reports_do_not_wait_for_each_other() -> None:
    (serving,) = [queues for queues in WORKERS.values() if Queue.IMPORTS in queues]
    assert serving == (Queue.IMPORTS,)


def test_every_dependency_volume_and_network_exists(
    compose: dict[str, Any], services: dict[str, Service]
) -> None:
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service.get("networks", ())) <= set(compose.get("networks", ())), name
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"], (name, volume)


def test_whoever_is_waited_for_can_be_seen_to_be_healthy_or_done(
    services: dict[str, Service],
) -> None:
    waits = [
        (name, wait["condition"])
        for service in services.values()
        for name, wait in service.get("depends_on", {}).items()
    ]
    for name, condition in waits:
        if condition == "service_healthy":
            assert "healthcheck" in services[name], name
        else:
            assert condition == "service_completed_successfully"
            assert services[name]["restart"] == "no"


def test_times_and_counts_of_health_checks_can_be_read(services: dict[str, Service]) -> None:
    for service in services.values():
        health = service.get("healthcheck", {})
        for field in ("interval", "timeout", "start_period"):
            assert DURATION.fullmatch(health.get(field, "1s")), health
        assert isinstance(health.get("retries", 1), int)


def test_every_service_but_the_one_shot_is_restarted(services: dict[str, Service]) -> None:
    restarts = {name: service["restart"] for name, service in services.items()}
    assert {name for name, kind in restarts.items() if kind == "no"} == {MIGRATE.name}


def test_every_variable_is_in_the_example_and_the_other_way_round(
    services: dict[str, Service],
) -> None:
    handed_on = {
        name
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    assert {name for name, _rest in variables()} | handed_on == names_in_example()


def test_a_missing_password_stops_compose(services: dict[str, Service]) -> None:
    passwords = [(name, rest) for name, rest in variables() if name.endswith("_PASSWORD")]
    assert passwords
    assert all(rest.startswith(":?") for _name, rest in passwords)
    auth = services["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    assert auth.startswith(f"{FLOWER_USER}:${{TDSYS_FLOWER_PASSWORD:?")


def test_ports_are_published_on_this_machine_only(services: dict[str, Service]) -> None:
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_valkey_keeps_everything_it_was_given(services: dict[str, Service]) -> None:
    command = services["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert given["--appendonly"] == "yes"
    assert given["--maxmemory-policy"] == "noeviction"
    assert given["--requirepass"]
    own = dict(line.split(" ", 1) for line in CONFIGURATION.splitlines())
    for name in ("appendonly", "appendfsync", "maxmemory-policy", "proto-max-bulk-len"):
        assert given[f"--{name}"] == own[name]


def test_the_image_installs_by_hash_and_names_no_registry(services: dict[str, Service]) -> None:
    recipe = services["migrate"]["build"]["dockerfile_inline"]
    assert "--require-hashes -r requirements.lock" in recipe
    assert "://" not in recipe
    assert "index" not in recipe
    for copied in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists(), name
