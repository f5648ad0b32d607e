"""`docs/kubernetes.md` tried on one machine, word for word; the README shows the same commands."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from umbel_cluster import cluster
from umbel_cluster.tools import built

from .conftest import ROOT

pytestmark = pytest.mark.cluster

SECTION = re.compile(r"^## Try it on one machine$(.*?)^## ", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SILOS = ("1", "2", "3", "4")


def blocks(text: str) -> list[list[str]]:
    """The commands of each console block: `# ` is the prompt, `> ` that of a line that goes on."""
    found = []
    for block in CONSOLE.findall(text):
        commands: list[str] = []
        for line in block.splitlines():
            if line.startswith("# "):
                commands.append(line[2:])
            elif line.startswith("> "):
                commands[-1] += f"\n{line[2:]}"
        found.append(commands)
    return found


def plain(command: str) -> str:
    return re.sub(r"\s+#\s.*$", "", command).strip()


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{os.getpid()}-documented"
    yield name
    cluster.down(name)


def test_the_pages_commands_train_to_a_model(name: str, tmp_path: Path) -> None:
    section = SECTION.search((ROOT / "docs/kubernetes.md").read_text())
    assert section is not None
    started, invited, applied = blocks(section[1])
    assert started[1] == "export KUBECONFIG=…"
    for path in ROOT.iterdir():
        if path.name != "runs":
            (tmp_path / path.name).symlink_to(path)
    tools = os.pathsep.join(str(built(tool)) for tool in ("helm", "kubernetes"))
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}

    def shell(command: str) -> str:
        """What it prints. The cluster has a name of its own here, and the environment is made."""
        command = command.replace("--cluster dev", f"--cluster {name}")
        command = re.sub(r"^make cluster\b", f"make -o .venv/.cluster cluster NAME={name}", command)
        script = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    (exported,) = re.findall(r"^export KUBECONFIG=(.+)$", shell(started[0]), re.MULTILINE)
    environment["KUBECONFIG"] = exported
    for command in started[2:]:
        shell(command)
    assert invited[0] == "n=1"
    for environment["n"] in SILOS:
        for command in invited[1:]:
            shell(command)
    said = {plain(command): shell(command) for command in applied}
    assert re.search(r"^NAME +STATE +ROUND +SILOS +AGE$", said["kubectl get fj"], re.MULTILINE)
    assert "kubectl get fc -A" in said  # there may have been none yet
    assert len(re.findall(r"^umbel-silo-silo-\d ", shell("kubectl get fc -A"), re.MULTILINE)) == len(SILOS)
    assert (tmp_path / "model.safetensors").stat().st_size > 1000


def test_the_readme_shows_the_same() -> None:
    shown = blocks((ROOT / "README.md").read_text())
    whole = [plain(c).replace("$n", "1") for block in blocks((ROOT / "docs/kubernetes.md").read_text()) for c in block]
    assert shown
    for block in shown:
        assert set(map(plain, block)) <= set(whole)
