"""The pages of ``docs/`` that are made from the code: the outputs and the settings.

``python -m bids_tract.tools.documents docs`` writes them; a test fails when they are out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args

from bids_tract.core.tracking.outcome import MEANING_OF_END, MEANING_OF_FATE, Fate
from bids_tract.files.atomic import replacing
from bids_tract.names import KINDS, Kind, output_path
from bids_tract.settings import (
    PRESETS,
    SECTIONS,
    ModelName,
    TrackingName,
    Values,
    option_name,
)

_MADE = "<!-- Made from the code by `python -m bids_tract.tools.documents docs`. -->\n\n"

# --- Outputs -----------------------------------------------------------------------------------

_SCAN = {"sub": "01", "ses": "1", "dir": "AP"}
# Of the tractogram and the matrix that stand for all.
_RUN = {"track": "prob", "desc": "csd", "atlas": "DK", "meas": "count"}

_OUTPUTS = """\
# What a run leaves behind

    <output_dir>/
      dataset_description.json    a BIDS derivative: made by which version, from which datasets
      README.md  .bidsignore
      logs/<date and time>-<id>/  run.log, settings.toml (all settings as used), plan.json,
                                  status.json (each scan: complete, or why not), the methods
                                  and references (CITATION.md, CITATION.bib), and a crash file
                                  for each stage that failed
      sub-*/[ses-*/]dwi/          maps, masks and tractograms, each with a JSON file beside it
      sub-*/[ses-*/]anat/         how a T1w image was brought to the diffusion series
      sub-*[_ses-*].html          the report of a participant or session
      sub-*/figures/              its pictures
      group.html group_*.tsv group_*.json group_*.nii.gz    the group level

Every name starts with all entities of the scan except `desc`, so that two scans never write to
one name. Nothing half-written carries a final name: files are written beside their place and
renamed.

## Files of a scan

For a scan `{scan}` in `sub-01/ses-1/dwi/`:

{files}

- The mean b0 (`dwiref`), the brain mask, the tensor maps and the seed mask are always made.
- `desc-preproc_dwi` is made of raw series, unless all corrections are switched off or
  `--preprocessed` is given; its JSON file says what was done (`Denoising`, `GibbsUnringing`,
  `MotionCorrection`). The confounds are made where motion was corrected. The bvec file is in
  FSL's convention, as BIDS asks.
- The brain mask's JSON file has the outcome of the gradient check (`GradientCheck`: verdict,
  reason, and the score of each of the 24 tables) and the axes that were used (`BvecAxes`).
- The tissue maps are made when something needs them: `--tracking pft`, `--stopping cmc` or `act`,
  `--seeding interface`, or the map `wm`. Their JSON files say what they were made from
  (`TissueSource`) and how well the T1w image matched (`Registration`). The transform is made
  where a T1w image had to be registered; tools of the ITK family apply it with the diffusion
  image as the reference and the T1w image as the moving one.
- The stop mask is made when a tracking method stops by a map or a mask.
- `model-csa` is made for `--model csa`, or where seeds or stops use the map `gfa`; `model-csd`
  for `--model csd`.
- There is a tractogram for each method asked for (`track-{methods}`)
  and each model (`desc-{models}`), in each `--format`.
- The reports take what they and the group level need (`*_measures.json`) and the density map of
  each tractogram; with `--skip-reports` there is neither, until `--reports-only` makes them.
- Connectivity matrices are shown in reports and summed up by the group level where they lie beside
  the maps, whichever program put them there: a line with the names of the regions, then a line
  of numbers for each (`n/a` where there is none), separated by tabs.

Directions and spherical harmonics are in image axes, the latter in DIPY's legacy `descoteaux07`
basis; colours and tractograms are in RAS+ (points in mm). The maps of the models are zero outside
the brain mask.

## The group level

`group_tractography.tsv` has a row for each scan, with every number that its report judges, the
covariates of `participants.tsv`, and what is bad or outlying; `group_tractography.json` says what
the columns mean. `status` is `complete`, `failed`, `running` (under way or stopped; numbers, if
any, are those of an earlier run), `missing` (a run said complete, but nothing is there) or
`unknown`. Faults of `participants.tsv`, and maps or tractograms whose size changed after they were
measured, are said and make the exit code 1. `--participant-label` and `--session-label` restrict
table and page. Where all scans lie in the space of one template (`space-MNI*`), there are the
mean FA (`group_space-*_model-tensor_param-fa_dwimap.nii.gz`) and, for each tractogram, the mean
over scans of the share of streamlines that pass through a voxel (`param-density_stat-mean`) and
the share of scans with a streamline there (`param-density_stat-share`); `LeftOut` names the scans
that are not in them. Where scans have connectivity matrices, there are their mean, standard
deviation and, where pairs are missing in some, number of scans
(`group_*_stat-mean_*_relmat.dense.tsv`).

## The JSON files

Each says what its file is (`Description`), what it was made from (`Sources`, as BIDS URIs), with
which versions (`SoftwareVersions`), what the user should know (`Notes`), and a `Digest` of all
that the file depends on: contents of the inputs, settings, program version. When a later run
comes to the same digest, the file is reused; otherwise it is made again, and the log says so.
`WallTime` (s) and `PeakMemoryGB` are those of a stage, and stand with the last of its files.

Maps have the keys of BEP016 (`Model`, `OrientationEncoding`, `ResponseFunction`,
`SkullStripped`), tractograms those of BEP046 (`StreamlineSeeding`, `StreamlinePropagation`,
`StreamlineTermination`, `StreamlineAcceptanceCriteria`, `StreamlineReconstructionDensity`). Both
proposals are open, and BIDS validators do not know their files yet: `.bidsignore` names them.

A tractogram's file also has `Counts`: `Attempts` = `Kept` + all `Rejected`, the latter by what
became of the seed:

{fates}

and `Ends`, two for each streamline kept, by why it goes no further:

{ends}
"""


def outputs_page() -> str:
    """``docs/outputs.md``: every file that a run writes."""
    return _MADE + _OUTPUTS.format(
        methods="`, `track-".join(get_args(TrackingName)),
        models="`, `desc-".join(get_args(ModelName)),
        scan="_".join(f"{key}-{label}" for key, label in _SCAN.items()) + "_dwi.nii.gz",
        files=_table(
            ("file", "what it is"),
            map(_output_row, KINDS.values()),
        ),
        fates=_table(
            ("`Rejected`", "meaning"),
            ((f"`{f.name}`", text) for f, text in MEANING_OF_FATE.items() if f is not Fate.KEPT),
        ),
        ends=_table(
            ("`Ends`", "meaning"),
            ((f"`{end.name}`", text) for end, text in MEANING_OF_END.items()),
        ),
    )


def _output_row(kind: Kind) -> tuple[str, str]:
    run = _RUN | {"model": _RUN["desc"], "desc": _RUN["track"]} if kind.key == "density" else _RUN
    given = {key: run[key] for key in kind.given}
    usual, *others = kind.extensions
    path = output_path(kind.key, _SCAN, usual, **given)
    name = path.name if kind.folder == "dwi" else f"../{kind.folder}/{path.name}"
    word = "or" if kind.key == "tractogram" else "with"
    also = f" ({word} {', '.join(f'`{extension}`' for extension in others)})" if others else ""
    return f"`{name}`{also}", kind.description


# --- Settings ----------------------------------------------------------------------------------

_SETTINGS = """\
# Settings

Every option of `bids_tract` stands either on the command line or in a TOML file that is given
with `--config-file`. The tables of the file are the sections below, the keys the long option
names without dashes:

```toml
[model]
model = ["csd"]

[seeding]
seeds = 8
seed-threshold = "25%"

[tracking]
tracking = ["det", "prob"]
step = 0.5
```

The command line wins over the file, the file over a preset (`--preset`), the preset over the
defaults. Each run writes all settings that it used to `logs/<run>/settings.toml` in its output
folder; given with `--config-file`, that file repeats the run.

"""


def settings_page() -> str:
    """``docs/settings.md``: every option with its default, values and help."""
    sections = "\n".join(_section(name, cls) for name, cls in SECTIONS.items())
    presets = "\n".join(_preset(name, values) for name, values in PRESETS.items())
    return f"{_MADE}{_SETTINGS}{sections}\n## Presets\n\n{presets}"


def _section(name: str, cls: type) -> str:
    heading = f"## {name}\n\n{(cls.__doc__ or '').strip()}\n\n"
    columns = ("option", "default", "values", "what it does")
    return heading + _table(columns, (_option_row(setting) for setting in fields(cls))) + "\n"


def _option_row(setting: Field[Any]) -> tuple[str, str, str, str]:
    spellings = [f"--{option_name(setting)}", *setting.metadata["aliases"]]
    default = "" if setting.default in (None, False, ()) else f"`{_plain(setting.default)}`"
    text = setting.metadata["help"].replace("%%", "%")
    if not setting.metadata["toml"]:
        text += " (command line only)"
    return ", ".join(f"`{one}`" for one in spellings), default, _values(setting), text


def _values(setting: Field[Any]) -> str:
    """What values an option takes, in words."""
    meta = setting.metadata
    if setting.default is False:
        return "none: a switch"
    if meta["choices"]:
        words = ", ".join(f"`{choice}`" for choice in meta["choices"])
    elif meta["metavar"]:
        words = f"`{meta['metavar']}`"
    else:
        words = "a number"
    bounds = [
        f"{word} {_plain(meta[key])}"
        for key, word in (("above", "above"), ("low", "from"), ("high", "up to"))
        if meta[key] is not None
    ]
    words += f", {' '.join(bounds)}" if bounds else ""
    words += f" {meta['unit']}" if meta["unit"] else ""
    return words + ("; one or more" if meta["many"] else "")


def _preset(name: str, values: Values) -> str:
    said = [
        f"--{option_name(setting)} {_plain(values[section][setting.name])}"
        for section, cls in SECTIONS.items()
        for setting in fields(cls)
        if setting.name in values.get(section, {})
    ]
    return f"`--preset {name}` stands for\n\n" + "".join(f"    {one}\n" for one in said)


def _plain(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


# --- Both --------------------------------------------------------------------------------------


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


PAGES: Mapping[str, Callable[[], str]] = {
    "outputs.md": outputs_page,
    "settings.md": settings_page,
}


def main(folder: Path) -> None:
    """Write the pages into a folder."""
    for name, page in PAGES.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
