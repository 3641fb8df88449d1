"""What users start with docker compose is what the tests run against."""

import re
from pathlib import Path

import yaml

from servers import MANIFEST, SERVERS

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
VERSIONS = {server.name: server.version for server in SERVERS}


def test_images_are_of_the_versions_that_are_built():
    tags = {name: service["image"].rpartition(":")[2].lstrip("v") for name, service in SERVICES.items()}
    assert tags == {
        "otel-collector": VERSIONS["otelcol"].partition("-")[0],
        "jaeger": VERSIONS["jaeger"],
        "prometheus": VERSIONS["prometheus"],
    }


def test_every_part_of_the_collectors_configuration_is_built_in():
    manifest = yaml.safe_load(MANIFEST.read_text())
    used = yaml.safe_load((ROOT / "otel-collector" / "config.yaml").read_text())
    built = {
        (kind, re.search(rf"(\w+?){kind[:-1]}(?: |$)", part["gomod"])[1])
        for kind in ("receivers", "processors", "exporters", "extensions")
        for part in manifest[kind]
    }
    named = {
        (kind, name.partition("/")[0].replace("_", ""))
        for kind in ("receivers", "processors", "exporters", "extensions")
        for name in used[kind]
    }
    assert named == built


def test_nothing_is_open_to_the_network_and_every_file_is_there():
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists()
