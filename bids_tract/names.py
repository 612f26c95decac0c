"""Every output name, both ways: how it is made and how it is read.

The names follow BIDS and its three open proposals, BEP016 (`dwimap`), BEP017 (`relmat`) and BEP046
(`tractogram`). They stand in the one table below, so that they can follow the proposals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from typing import TypeVar

AnyPath = TypeVar("AnyPath", bound=PurePath)

# The order of the BIDS schema 2.0.1. The proposals put tract, track, model and param after space,
# and meas behind all but desc; stat is what tools write there for a summary. From, to and mode are
# what everybody writes for transforms, which have no proposal yet.
ENTITY_ORDER: tuple[str, ...] = (
    "sub", "tpl", "ses", "cohort", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc",
    "stain", "rec", "dir", "run", "mod", "echo", "flip", "inv", "mt", "part", "proc", "hemi",
    "space", "tract", "track", "model", "param", "from", "to", "mode", "split", "recording",
    "chunk", "atlas", "seg", "scale", "res", "den", "label", "meas", "stat", "desc",
)  # fmt: skip

_RANK = {entity: rank for rank, entity in enumerate(ENTITY_ORDER)}
_NAME = re.compile(r"((?:[A-Za-z0-9]+-[A-Za-z0-9+]+_)*)([A-Za-z0-9]+)(\.[^/\s]+)?")
_LABEL = re.compile(r"[A-Za-z0-9+]+")


# --- Any BIDS name -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ParsedName:
    """The parts of a BIDS file name.

    Attributes
    ----------
    entities : mapping of str to str
        Labels by short key, in the order of the name: ``{"sub": "01", "dir": "AP"}``.
    suffix : str
        The last word: ``dwi``.
    extension : str
        Everything from the first dot on: ``.nii.gz``; empty where there is none.

    """

    entities: Mapping[str, str]
    suffix: str
    extension: str


def split_name(filename: str) -> ParsedName | None:
    """Take a name of any level apart, also one for all participants (``acq-b3000_dwi.json``).

    Parameters
    ----------
    filename : str
        A name without folders.

    Returns
    -------
    ParsedName or None
        None when the name is not made of key-label pairs and a suffix, or has a key twice.

    """
    match = _NAME.fullmatch(filename)
    if match is None:
        return None
    pairs = [pair.split("-", 1) for pair in match[1].split("_")[:-1]]
    entities = {pair[0]: pair[1] for pair in pairs}
    if len(entities) < len(pairs):
        return None
    return ParsedName(entities, match[2], match[3] or "")


def parse_name(filename: str) -> ParsedName | None:
    """Take the name of a participant's file apart.

    Parameters
    ----------
    filename : str
        A name without folders.

    Returns
    -------
    ParsedName or None
        None when it is not a BIDS name that starts with ``sub-``.

    """
    parsed = split_name(filename)
    return parsed if parsed is not None and next(iter(parsed.entities), "") == "sub" else None


def format_name(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """Make a file name, its entities in BIDS order.

    Parameters
    ----------
    entities : mapping of str to str
        Labels by short key. Keys that BIDS does not know follow the others, alphabetically: to
        leave them out would give two scans one name.
    suffix, extension : str
        The last word, and what follows from the first dot on.

    Raises
    ------
    ValueError
        When the parts do not make a BIDS name.

    """
    name = "_".join([*_pairs(entities), suffix]) + extension
    if split_name(name) is None:
        raise ValueError(f"'{name}' is not a BIDS name")
    return name


def _pairs(entities: Mapping[str, str]) -> list[str]:
    """``key-label`` for each entity, in BIDS order."""
    ordered = sorted(entities, key=lambda key: (_RANK.get(key, len(_RANK)), key))
    for key in ordered:
        if not _LABEL.fullmatch(entities[key]):
            raise ValueError(f"'{entities[key]}' cannot be the label of {key}-")
    return [f"{key}-{entities[key]}" for key in ordered]


# --- What this program writes ------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One kind of output.

    Attributes
    ----------
    key : str
        What the program calls it.
    suffix : str
        The last word of its name.
    extensions : tuple of str
        What it may be stored as, the usual one first. The sidecar is not among them.
    entities : mapping of str to str
        What its name adds to the entities of the scan.
    description : str
        One sentence for sidecars and documents.
    given : tuple of str
        Entities whose label differs from run to run.
    folder : str
        The data type's folder.

    """

    key: str
    suffix: str
    extensions: tuple[str, ...]
    entities: Mapping[str, str]
    description: str
    given: tuple[str, ...] = field(default=())
    folder: str = "dwi"


def _image(key: str, suffix: str, description: str, **entities: str) -> Kind:
    return Kind(key, suffix, (".nii.gz",), entities, description)


KINDS: Mapping[str, Kind] = {
    kind.key: kind
    for kind in (
        Kind(
            "preproc_dwi", "dwi", (".nii.gz", ".bval", ".bvec"), {"desc": "preproc"},
            "The diffusion series, corrected, as the models saw it.",
        ),
        Kind(
            "confounds", "timeseries", (".tsv",), {"desc": "confounds"},
            "How the head moved: position of each volume of the diffusion series relative to the "
            "first.",
        ),
        _image("dwiref", "dwiref", "Mean of the volumes without diffusion weighting."),
        Kind(
            "t1w_xfm", "xfm", (".txt",), {"from": "T1w", "to": "dwi", "mode": "image"},
            "Rigid transform (ITK) that brings images from T1w space to the diffusion series.",
            folder="anat",
        ),
        _image("brain_mask", "mask", "The voxels of the brain.", desc="brain"),
        _image("seed_mask", "mask", "The voxels in which streamlines start.", desc="seed"),
        _image("stop_mask", "mask", "The voxels in which streamlines may advance.", desc="stop"),
        _image(
            "wm_probseg", "probseg", "Fraction of white matter, on the grid of the diffusion "
            "series.", label="WM",
        ),
        _image(
            "gm_probseg", "probseg", "Fraction of grey matter, on the grid of the diffusion "
            "series.", label="GM",
        ),
        _image(
            "csf_probseg", "probseg", "Fraction of cerebrospinal fluid, on the grid of the "
            "diffusion series.", label="CSF",
        ),
        _image(
            "tensor_fa", "dwimap", "Fractional anisotropy of the diffusion tensor.",
            model="tensor", param="fa",
        ),
        _image(
            "tensor_md", "dwimap", "Mean diffusivity of the diffusion tensor.",
            model="tensor", param="md",
        ),
        _image(
            "tensor_colfa", "dwimap", "Main direction of the diffusion tensor as a colour, "
            "weighted by its fractional anisotropy.", model="tensor", param="colfa",
        ),
        _image(
            "csa_odf", "dwimap", "Orientation distribution function in constant solid angle, as "
            "spherical harmonics.", model="csa", param="odf",
        ),
        _image(
            "csa_gfa", "dwimap", "Generalised fractional anisotropy of the orientation "
            "distribution function in constant solid angle.", model="csa", param="gfa",
        ),
        _image(
            "csa_peaks", "dwimap", "Main directions of the orientation distribution function in "
            "constant solid angle.", model="csa", param="peaks",
        ),
        _image(
            "csd_fod", "dwimap", "Fibre orientation distribution of constrained spherical "
            "deconvolution, as spherical harmonics.", model="csd", param="wm",
        ),
        _image(
            "csd_peaks", "dwimap", "Main directions of the fibre orientation distribution of "
            "constrained spherical deconvolution.", model="csd", param="peaks",
        ),
        Kind(
            "tractogram", "tractogram", (".trx", ".trk", ".tck"), {},
            "Streamlines of the whole brain.", given=("track", "desc"),
        ),
        # The proposal gives a dwimap no track: its model is that of the tractogram, its desc the
        # method, so that two methods on one model have a map each.
        Kind(
            "density", "dwimap", (".nii.gz",), {"param": "density"},
            "Number of streamlines of a tractogram that pass through each voxel.",
            given=("model", "desc"),
        ),
        Kind(
            "matrix", "relmat", (".dense.tsv",), {},
            "How regions of an atlas are connected: names of the regions, then a row for each.",
            given=("track", "desc", "atlas", "meas"),
        ),
    )
}  # fmt: skip

# What the names of our outputs add to the scan's. A scan that had one of these itself would lend
# its name to another scan's outputs.
OUTPUT_ENTITIES = frozenset(
    key for kind in KINDS.values() for key in (*kind.entities, *kind.given) if key != "desc"
)


def output_path(
    kind: str, source: Mapping[str, str], extension: str | None = None, **entities: str
) -> PurePosixPath:
    """Where an output of a scan lies, relative to the output folder.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    source : mapping of str to str
        The entities of the scan; all but ``desc`` stand in the name.
    extension : str, optional
        One of the kind's extensions; the usual one when absent.
    **entities : str
        The labels that differ from run to run: for a tractogram ``track="prob", desc="csd"``.

    Returns
    -------
    PurePosixPath
        ``sub-01/ses-1/dwi/sub-01_ses-1_dir-AP_track-prob_desc-csd_tractogram.trx``.

    Raises
    ------
    ValueError
        When the kind does not have that extension or does not take those entities, or when the
        scan has one of the kind's own entities.

    """
    described = KINDS[kind]
    extension = extension or described.extensions[0]
    if extension not in described.extensions:
        raise ValueError(f"{kind} is not stored as {extension}")
    if set(entities) != set(described.given):
        raise ValueError(f"{kind} takes {described.given}, not {tuple(entities)}")
    scan = _scan_entities(source)
    if taken := scan.keys() & OUTPUT_ENTITIES:
        raise ValueError(f"the scan's own {', '.join(sorted(taken))} would be overwritten")
    name = format_name(scan | dict(described.entities) | entities, described.suffix, extension)
    folders = [f"{key}-{scan[key]}" for key in ("sub", "ses") if key in scan]
    return PurePosixPath(*folders, described.folder, name)


def sidecar_path(path: AnyPath) -> AnyPath:
    """Return the JSON file beside an output: the same name with ``.json``."""
    return path.with_name(path.name.split(".", 1)[0] + ".json")


def density_path(tractogram: AnyPath) -> AnyPath:
    """Return the density map of a tractogram, which lies beside it.

    Parameters
    ----------
    tractogram : path
        ``sub-01_track-prob_desc-csd_tractogram.trx``, in any folder; one that another program
        put there may lack track or desc.

    Returns
    -------
    path
        ``sub-01_model-csd_param-density_desc-prob_dwimap.nii.gz``, in the same folder.

    Raises
    ------
    ValueError
        It has no name of a participant's file.

    """
    parsed = parse_name(tractogram.name)
    if parsed is None:
        raise ValueError(f"'{tractogram.name}' is not a BIDS name")
    kind = KINDS["density"]
    own = {"desc": "model", "track": "desc"}
    entities = {own.get(key, key): label for key, label in parsed.entities.items()}
    name = format_name(entities | dict(kind.entities), kind.suffix, kind.extensions[0])
    return tractogram.with_name(name)


def run_label(source: Mapping[str, str]) -> str:
    """Return the short name of a scan, for messages and jobs: ``sub-01_ses-1_dir-AP``.

    Parameters
    ----------
    source : mapping of str to str
        The entities of the scan; all but ``desc`` stand in the name.

    """
    return "_".join(_pairs(_scan_entities(source)))


def label_entities(label: str) -> dict[str, str]:
    """Return the entities of a scan from its short name, as `run_label` makes it."""
    return dict(pair.split("-", 1) for pair in label.split("_"))


def _scan_entities(source: Mapping[str, str]) -> dict[str, str]:
    return {key: label for key, label in source.items() if key != "desc"}


def bidsignore() -> list[str]:
    """Return the lines of ``.bidsignore``: what the released BIDS schema does not know yet.

    Folders stand without a slash at the end, with which the BIDS validator still reports the
    folder itself.
    """
    return [
        "*.html",
        "**/figures",
        "group_*",
        "*_dwimap.*",
        "*_tractogram.*",
        "*_relmat.*",
        "*_xfm.*",
        "*_dwi.bv*",
        "*_dwiref.*",
        "*_timeseries.*",
        "*_measures.json",
    ]
