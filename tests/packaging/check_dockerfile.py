"""Run the Dockerfile's steps without Docker: a fresh virtual environment stands in for its base image.

    python tests/packaging/check_dockerfile.py [--build-arg NAME=VALUE ...]

WORKDIR and COPY work in a temporary folder, RUN lines run there in order with the ARG and ENV values so far, and at
the end the entry point is started. Steps that need root (useradd) are left out, and said to be. Takes minutes and up
to 6 GB; everything is deleted afterwards.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from dockerfile import Step, read

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDS_ROOT = ("useradd",)


class Image:
    """What the steps so far have made of the temporary folder."""

    def __init__(self, root: Path, arguments: dict[str, str]) -> None:
        self.root = root
        self.arguments = arguments
        self.workdir = root
        venv.create(root / "venv", with_pip=True)
        path = f"{root / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # The image's environment has none of the caller's Python settings; pip's own configuration is the machine's.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        self.environment = inherited | {"PATH": path, "HOME": str(root)}

    def apply(self, step: Step) -> None:
        """Carry out one step; FROM, USER, VOLUME and the like change nothing here."""
        match step.word:
            case "ARG":
                for name, default in step.pairs().items():
                    value = self.arguments.get(name, default)
                    if value:
                        self.environment[name] = value
            case "ENV":
                self.environment |= step.pairs()
            case "WORKDIR":
                self.workdir = self.root / step.text.lstrip("/")
                self.workdir.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = shlex.split(step.text)
                for source in sources:
                    self._copy(REPOSITORY / source, self.workdir / target)
            case "RUN":
                self._run(step)

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    def _run(self, step: Step) -> None:
        if step.text.startswith(NEEDS_ROOT):
            say(f"line {step.line}: left out, needs root: {step.text}")
            return
        say(f"line {step.line}: {step.text}")
        subprocess.run(["/bin/sh", "-c", step.text], cwd=self.workdir, env=self.environment, check=True)

    def start(self, command: list[str]) -> None:
        """Run the image's own command, away from its source."""
        say(" ".join(command))
        subprocess.run(command, cwd=self.workdir, env=self.environment, check=True, stdout=subprocess.DEVNULL)


def say(message: str) -> None:
    """Show progress among the steps' own output."""
    sys.stdout.write(f"==> {message}\n")
    sys.stdout.flush()


def main() -> int:
    """Check the repository's Dockerfile; the exit status of a failed step is passed on."""
    parser = argparse.ArgumentParser(description="Run the Dockerfile's steps in a fresh virtual environment.")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    arguments = dict(text.partition("=")[::2] for text in parser.parse_args().build_arg)
    steps = read(REPOSITORY / "Dockerfile")
    words = {step.word: step for step in steps}
    with tempfile.TemporaryDirectory(prefix="dalcli-image-") as folder:
        image = Image(Path(folder), arguments)
        try:
            for step in steps:
                image.apply(step)
            shutil.rmtree(image.root / "src")  # the program must not need what it was installed from
            image.start([*words["ENTRYPOINT"].command(), *words["CMD"].command()])
        except subprocess.CalledProcessError as error:
            say(f"failed: exit status {error.returncode}")
            return error.returncode
    say("all steps passed; the image itself was not built")
    return 0


if __name__ == "__main__":
    sys.exit(main())
