"""The host's pip configuration, made usable inside an image's build without becoming part of the image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .base import PIP


def volumes(folder: Path) -> list[str]:
    """What a build mounts: one folder with a pip.conf, certificates copied into it, local folders mounted below."""
    mounted = f"/{PIP}"
    lines, below = ["[global]"], []
    for name, value in configured().items():
        for number, word in enumerate(value.split()):
            place = f"{name}-{number}"
            if not Path(word).is_absolute() or not Path(word).exists():
                continue
            if Path(word).is_dir():
                (folder / place).mkdir()
                below.append(f"--volume={word}:{mounted}/{place}:ro")
            else:
                shutil.copy(word, folder / place)
            value = value.replace(word, f"{mounted}/{place}")
        lines.append(f"{name} = {value}")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return [f"--volume={folder}:{mounted}:ro", *below]


def configured() -> dict[str, str]:
    """Files first, then the environment, as pip itself reads them."""
    found: dict[str, str] = {}
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in ("global", "install"):
            found[name] = value[1:-1].replace("\\n", "\n ")
    for key, value in os.environ.items():
        if key.startswith("PIP_") and key != "PIP_CONFIG_FILE":
            found[key[4:].lower().replace("_", "-")] = value
    return found
