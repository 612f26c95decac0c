"""What a run finds and leaves around its stages: digests, failures, descriptions, settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from bids_tract.citation import as_bibtex, as_markdown
from bids_tract.dataset import Dataset
from bids_tract.derivatives import dataset_description, readme
from bids_tract.errors import DataError, UsageError
from bids_tract.files.atomic import replacing
from bids_tract.files.sidecars import file_digest, read_json, write_json
from bids_tract.names import bidsignore, sidecar_path
from bids_tract.plan import Plan
from bids_tract.settings import Settings, to_table
from bids_tract.workflow.interface import FAILURE_FILE


class Fingerprints:
    """Digests of file contents, each file read once."""

    def __init__(self) -> None:
        self.known: dict[Path, str] = {}

    def __call__(self, path: Path) -> str:
        """The digest of a file's content."""
        if path not in self.known:
            self.known[path] = file_digest(path)
        return self.known[path]


def recorded_digest(path: Path) -> str | None:
    """The digest in an output's sidecar; None when either is missing or unreadable."""
    sidecar = sidecar_path(path)
    if not (path.is_file() and sidecar.is_file()):
        return None
    try:
        digest = read_json(sidecar).get("Digest")
    except DataError:  # half-written by something that crashed: not finished
        return None
    return digest if isinstance(digest, str) else None


def read_failure(scratch: Path) -> dict[str, Any] | None:
    """What a failed stage has left in its job's scratch folder."""
    path = scratch / FAILURE_FILE
    return read_json(path) if path.is_file() else None


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_DOCKER_MARK = Path("/.dockerenv")  # which Docker puts into what it runs


def _container() -> dict[str, str]:
    """The container that this process runs in, if any; its tag is the image's own word."""
    environ = os.environ
    image = environ.get("APPTAINER_CONTAINER") or environ.get("SINGULARITY_CONTAINER")
    tag = {"Tag": environ["BIDS_TRACT_IMAGE"]} if "BIDS_TRACT_IMAGE" in environ else {}
    if image:
        return {"Type": "apptainer", **tag, "URI": Path(image).absolute().as_uri()}
    if environ.get("container") == "podman":
        return {"Type": "podman", **tag}
    # Other engines run what was made for Docker, and leave no mark.
    return {"Type": "docker", **tag} if tag or _DOCKER_MARK.exists() else {}


def write_description(output_dir: Path, dataset: Dataset) -> None:
    """Write what makes the output folder a BIDS dataset."""
    roots = {"source": dataset.root, **dataset.derivatives}
    sources = {name: root.as_uri() for name, root in roots.items()}
    write_json(
        output_dir / "dataset_description.json",
        dataset_description(dataset.name, sources, _container()),
    )
    _write_text(output_dir / ".bidsignore", "\n".join(bidsignore()) + "\n")
    _write_text(output_dir / "README.md", readme(dataset.name))


def refuse_foreign(output_dir: Path) -> None:
    """Refuse a folder that holds the dataset of another program: its description would be lost.

    Raises
    ------
    UsageError
        It does.

    """
    path = output_dir / "dataset_description.json"
    if not path.is_file():
        return
    try:
        made_by = read_json(path).get("GeneratedBy")
    except DataError:  # nothing that could be lost
        return
    tools = made_by if isinstance(made_by, list) else []
    if not any(isinstance(tool, dict) and tool.get("Name") == "bids_tract" for tool in tools):
        raise UsageError(
            f"the output folder {output_dir} holds a dataset that this program did not make; "
            "choose another."
        )


def write_run_files(log_dir: Path, settings: Settings, plan: Plan, argv: Sequence[str]) -> None:
    """Write the settings, the plan, the command and the references of a run."""
    # In TOML a comment is one line of printable characters.
    command = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shlex.join(argv)
    )
    text = f"# {command}\n" + tomli_w.dumps(to_table(settings))
    _write_text(log_dir / "settings.toml", text)
    write_json(log_dir / "plan.json", plan.as_dict())
    done = [job.corrections for job in plan.jobs]
    _write_text(log_dir / "CITATION.md", as_markdown(settings, done))
    _write_text(log_dir / "CITATION.bib", as_bibtex(settings, done))
