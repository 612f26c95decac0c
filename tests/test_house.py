"""The house rules that no other program checks."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import bids_tract
from bids_tract import cli, errors
from bids_tract.settings import read_toml
from bids_tract.tools.documents import PAGES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = ROOT / "bids_tract", ROOT / "tests"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()

# Tests of no single module: of the repository, of several modules together, of real data. (Whole
# runs are in e2e/, comparisons with other programs in test_against_*.py.)
OF_NO_MODULE = {
    "test_house.py",
    "files/test_real_data.py",
    "files/tractograms/test_conversion.py",
}


def has_module(test: Path) -> bool:
    """Whether there is a module or package that a test file stands for."""
    within = test.relative_to(TESTS)
    name = within.stem.removeprefix("test_")
    places = [PACKAGE / within.parent / name, ROOT / within.parent / name]  # or benchmarks
    return any(
        place.with_suffix(".py").is_file() or (place / "__init__.py").is_file() for place in places
    )


@pytest.mark.parametrize(
    "test", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_each_test_file_stands_where_its_module_does(test):
    name = test.relative_to(TESTS).as_posix()
    excepted = name in OF_NO_MODULE or name.startswith("e2e/") or "/test_against_" in name
    assert excepted or has_module(test)


def test_the_exceptions_are_still_there():
    assert {name for name in OF_NO_MODULE if not (TESTS / name).is_file()} == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_module_says_what_it_is(module):
    assert ast.get_docstring(ast.parse(module.read_text()))


# --- The version -------------------------------------------------------------------------------


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    holders = [path for path in MODULES if bids_tract.__version__ in path.read_text()]
    assert holders == [PACKAGE / "__init__.py"]


def test_the_citation_file_is_of_this_version_and_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == bids_tract.__version__
    assert citation["title"] == PROJECT["name"]
    assert citation["license"] == PROJECT["license"]
    assert citation["cff-version"] == "1.2.0"
    for work in (citation, *citation["references"]):
        assert work["title"]
        assert all("name" in author or "family-names" in author for author in work["authors"])
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", work["doi"]) for work in citation["references"])


def test_the_console_scripts_are_there():
    assert set(PROJECT["scripts"]) == {"bids_tract", "bids_tract_tools"}
    for target in PROJECT["scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))


# --- The documents -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_made_pages_are_up_to_date(name):
    said = "run: python -m bids_tract.tools.documents docs"
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), said


def test_the_example_of_a_configuration_file_can_be_read(tmp_path):
    text = (ROOT / "docs" / "settings.md").read_text()
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "example.toml").write_text(example[1])
    assert set(read_toml(tmp_path / "example.toml")) == {"model", "seeding", "tracking"}


def blocks(text: str) -> list[str]:
    """The code blocks marked as bash."""
    return re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def quick_start() -> list[str]:
    return blocks(README.split("\n## Quick start\n")[1].split("\n## ")[0])


def test_the_quick_start_is_two_commands_each_of_which_starts_from_nothing():
    commands = [command.splitlines() for command in quick_start()]
    assert [len(lines) for lines in commands] == [1, 1]
    (demo,), (test,) = commands
    for command in (demo, test):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert demo.endswith(" && .venv/bin/bids_tract_tools demo demo-out")
    assert "pytest" in test


def test_continuous_integration_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    function = re.search(r"^readme_command\(\) \{.*?^\}$", script, re.DOTALL | re.MULTILINE)
    for number, command in enumerate(quick_start(), start=1):
        run = f"{function[0]}\nreadme_command {number}"
        found = subprocess.run(["bash", "-c", run], cwd=ROOT, capture_output=True, text=True)
        assert found.stdout == command
        assert f'bash -euo pipefail -c "$(readme_command {number})"' in script


@pytest.mark.parametrize("command", blocks(README.split("\n## Use\n")[1].split("\n## ")[0]))
def test_the_usual_commands_are_understood(command):
    program, *arguments = shlex.split(command)
    assert program == "bids_tract"
    assert cli.parse(arguments).levels == ("participant",)


def test_the_readme_lists_all_exit_codes():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    raised = {
        one.exit_code
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.BidsTractError)
    }
    assert listed == {0, 130, 143} | raised


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda path: path.name,
)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


# --- What must not be in the repository --------------------------------------------------------

FOREIGN = {
    "a folder of one machine": r"(?<![\w.~}\])-])/(?:home|root|Users|mnt|work)/\w",
    "a package registry": r"(?i)https?://[^\s/]*(?:pypi|pythonhosted|anaconda|artifactory|nexus)",
    "a package registry's option": r"(?i)--(?:extra-)?index-url|--trusted-host|PIP_INDEX",
}


def texts() -> list[Path]:
    """Files of the repository that people write, other than this one."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in (".ci", "bids_tract", "benchmarks", "docs", "tests"):
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    endings = {"", ".cff", ".cfg", ".def", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
    return [
        path
        for path in found
        if path.suffix in endings and "__pycache__" not in path.parts and path != Path(__file__)
    ]


def in_an_image(path: Path) -> bool:
    """Whether a file names folders of a container image, not of anybody's machine."""
    return path.name == "Dockerfile" or path.parent == TESTS / "container"


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_names(what):
    foreign = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in texts()
        if not (what == "a folder of one machine" and in_an_image(path))
        for match in re.finditer(FOREIGN[what], path.read_text(encoding="utf-8"))
    ]
    assert foreign == []
