"""
What `pip install recert` without extras takes on disk, package by package.

Makes a fresh environment in a temporary folder outside the source tree, installs this tree into it with what the
core needs, and adds up the sizes of the installed files: without pip and setuptools, which every environment has,
and without compiled files, which Python makes as it runs. MB are 10^6 bytes. Needs a package index; without one
it says so and measures nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from importlib.metadata import distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AIM_MB = 100
NOT_COUNTED = {"pip", "setuptools", "wheel"}


def installed(folder: Path) -> Path:
    """
    Return the site-packages of a new environment in `folder` that holds the core.

    Raises:
        CalledProcessError: pip failed, as it does without a package index.
    """
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", ROOT],
        check=True,
        stdout=sys.stderr,
    )
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(
        subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
    )


def sizes(site: Path) -> tuple[dict[str, int], int]:
    """Return the bytes of each package, and those of all files in site-packages, scripts not counted."""
    found: dict[str, int] = defaultdict(int)
    apart = 0
    for package in distributions(path=[str(site)]):
        name = package.metadata["Name"].lower()
        for file in package.files or ():
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file() and path.resolve().is_relative_to(site.resolve()):
                found[name] += path.stat().st_size
    for name in NOT_COUNTED & set(found):
        apart += found.pop(name)
    whole = sum(f.stat().st_size for f in site.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return dict(found), whole - apart


def main() -> int:
    """Print the table and the claim."""
    told: dict[str, object] = {"claim": "the core on disk, MB", "aim": AIM_MB, "interval": None}
    with tempfile.TemporaryDirectory(prefix="core-size-") as made:
        try:
            found, total = sizes(installed(Path(made)))
        except (OSError, subprocess.CalledProcessError) as exc:
            print(json.dumps(told | {"value": None, "met": None, "reason": f"cannot install: {exc}"}))
            return 0
    print(f"{'package':<24}{'MB':>8}")
    for name, size in sorted(found.items(), key=lambda item: -item[1]):
        print(f"{name:<24}{size / 1e6:>8.2f}")
    print(f"{'total':<24}{total / 1e6:>8.2f}")
    told |= {"value": round(total / 1e6, 1), "met": total < AIM_MB * 1e6, "n": len(found)}
    print(json.dumps(told | {"versions": {"recert": version("recert"), "python": sys.version.split()[0]}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
