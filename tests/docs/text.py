"""What the pages say: their code blocks and links."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.text.splitlines()[0][:50]}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[Block]:
    return [
        Block(page, found[1], found[2])
        for page in pages()
        for found in FENCE.finditer(page.read_text("utf-8"))
        if found[1] == language
    ]


def links(page: Path) -> list[str]:
    """Of the page's text, without its code."""
    return LINK.findall(FENCE.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """Of the page's headings, as they are made where repositories are shown."""
    titles = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def commands(block: Block) -> list[str]:
    """Logical lines of a shell block, without blank ones and comments."""
    joined = block.text.replace("\\\n", " ")
    lines = (re.sub(r"\s+#\s.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def tracked() -> list[Path]:
    """Files of the repository, those about to be added too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]
