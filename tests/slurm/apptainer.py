"""A program that stands in for Apptainer: of `exec --containall` it does what becomes of the environment.

It lets in what APPTAINERENV_ names, gives the image's own PATH (argv has none of it), and becomes the command. Its
file system is the host's: what is bound is only taken note of.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

SHIM = """#!{python}
import json, os, sys
PREFIX, words = "APPTAINERENV_", sys.argv[1:]
if words[:3] != ["exec", "--containall", "--no-home"]:
    sys.exit(f"apptainer: {{words[:3]}}")
image = next(at for at, word in enumerate(words[1:], 1) if not word.startswith("-"))
inside = {{name[len(PREFIX):]: value for name, value in os.environ.items() if name.startswith(PREFIX)}}
environment = {{"PATH": {path!r}, **inside}}
with open({notes!r}, "a") as notes:
    notes.write(json.dumps([words[1:image + 1], environment]) + "\\n")
os.execvpe(words[image + 1], words[image + 1:], environment)
"""


def shim(folder: Path) -> Path:
    """Its notes are in `apptainer.notes`: for each start, [options and image, the environment inside]."""
    path = folder / "apptainer"
    image_path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    notes = str(folder / "apptainer.notes")
    path.write_text(SHIM.format(python=shlex.quote(sys.executable), path=image_path, notes=notes))
    path.chmod(0o755)
    return path
