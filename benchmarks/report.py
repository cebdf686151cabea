"""What a measurement says, as Markdown for the terminal and for the README."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

README = Path(__file__).with_name("README.md")


@dataclass(frozen=True, slots=True)
class Report:
    """The text of one measurement, and whether the budgets that it checks were kept."""

    name: str
    text: str
    kept: bool = True

    def write_into_readme(self) -> None:
        """Replace the section of the README that an earlier run of the same measurement wrote."""
        begin, end = f"<!-- begin {self.name} -->", f"<!-- end {self.name} -->"
        before, rest = README.read_text().split(begin)
        after = rest.split(end)[1]
        README.write_text(f"{before}{begin}\n\n{self.text}\n\n{end}{after}")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """What the figures were taken on, in one line."""
    versions = ", ".join(
        f"{package} {version(package)}"
        for package in ("Django", "djangorestframework", "djangorestframework-simplejwt", "PyJWT")
    )
    return f"Python {platform.python_version()}, {versions}; {platform.system()}, {os.cpu_count()} CPUs."
