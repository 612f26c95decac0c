"""The methods of a run in words, and their references, as text and as BibTeX. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_tract import __version__
from bids_tract.resolved import Corrections, maps_used, needs_tissue, tissue_rule
from bids_tract.settings import (
    SCALAR_MAPS,
    SeedingSettings,
    Settings,
    Threshold,
)


@dataclass(frozen=True)
class Reference:
    """A paper."""

    key: str
    authors: str
    year: int
    title: str
    journal: str
    doi: str

    @property
    def text(self) -> str:
        """One line for a list of references."""
        names = self.authors.split(" and ")
        short = f"{names[0].split(',')[0]} et al." if len(names) > 2 else " and ".join(
            name.split(",")[0] for name in names
        )  # fmt: skip
        return f"{short} ({self.year}). {self.title}. {self.journal}. doi:{self.doi}"

    @property
    def bibtex(self) -> str:
        """An entry of a BibTeX file."""
        fields = {
            "author": self.authors, "title": f"{{{self.title}}}", "journal": self.journal,
            "year": str(self.year), "doi": self.doi,
        }  # fmt: skip
        body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@article{{{self.key},\n{body}}}\n"


REFERENCES = {
    key: Reference(f"{key}_{year}", authors, year, title, journal, doi)
    for key, authors, year, title, journal, doi in (
        (
            "csa", "Aganj, Iman and Lenglet, Christophe and Sapiro, Guillermo", 2010,
            "Reconstruction of the orientation distribution function in single- and "
            "multiple-shell q-ball imaging within constant solid angle",
            "Magnetic Resonance in Medicine", "10.1002/mrm.22365",
        ),
        (
            "csd", "Tournier, J-Donald and Calamante, Fernando and Connelly, Alan", 2007,
            "Robust determination of the fibre orientation distribution in diffusion MRI: "
            "non-negativity constrained super-resolved spherical deconvolution",
            "NeuroImage", "10.1016/j.neuroimage.2007.02.016",
        ),
        # Both the continuous map criterion and particle filtering.
        (
            "cmc", "Girard, Gabriel and Whittingstall, Kevin and Deriche, Rachid", 2014,
            "Towards quantitative connectivity analysis: reducing tractography biases",
            "NeuroImage", "10.1016/j.neuroimage.2014.04.074",
        ),
        (
            "act", "Smith, Robert E. and Tournier, J-Donald and Calamante, Fernando", 2012,
            "Anatomically-constrained tractography: improved diffusion MRI streamlines "
            "tractography through effective use of anatomical information",
            "NeuroImage", "10.1016/j.neuroimage.2012.06.005",
        ),
        (
            "mppca", "Veraart, Jelle and Novikov, Dmitry S. and Christiaens, Daan", 2016,
            "Denoising of diffusion MRI using random matrix theory",
            "NeuroImage", "10.1016/j.neuroimage.2016.08.016",
        ),
        (
            "patch2self", "Fadnavis, Shreyas and Batson, Joshua and Garyfallidis, Eleftherios",
            2020, "Patch2Self: denoising diffusion MRI with self-supervised learning",
            "Advances in Neural Information Processing Systems", "10.48550/arXiv.2011.01355",
        ),
        (
            "unring", "Kellner, Elias and Dhital, Bibek and Kiselev, Valerij G.", 2016,
            "Gibbs-ringing artifact removal based on local subvoxel-shifts",
            "Magnetic Resonance in Medicine", "10.1002/mrm.26054",
        ),
        (
            "motion", "Leemans, Alexander and Jones, Derek K.", 2009,
            "The B-matrix must be rotated when correcting for subject motion in DTI data",
            "Magnetic Resonance in Medicine", "10.1002/mrm.21890",
        ),
        (
            "orientation", "Schilling, Kurt G. and Yeh, Fang-Cheng and Nath, Vishwesh", 2019,
            "A fiber coherence index for quality control of B-table orientation in diffusion "
            "MRI scans", "Magnetic Resonance Imaging", "10.1016/j.mri.2019.01.018",
        ),
        (
            "registration", "Mattes, David and Haynor, David R. and Vesselle, Hubert", 2003,
            "PET-CT image registration in the chest using free-form deformations",
            "IEEE Transactions on Medical Imaging", "10.1109/TMI.2003.809072",
        ),
        (
            "segmentation", "Zhang, Yongyue and Brady, Michael and Smith, Stephen", 2001,
            "Segmentation of brain MR images through a hidden Markov random field model and the "
            "expectation-maximization algorithm",
            "IEEE Transactions on Medical Imaging", "10.1109/42.906424",
        ),
        (
            "dipy", "Garyfallidis, Eleftherios and Brett, Matthew and Amirbekian, Bagrat", 2014,
            "Dipy, a library for the analysis of diffusion MRI data",
            "Frontiers in Neuroinformatics", "10.3389/fninf.2014.00008",
        ),
        (
            "nipype", "Gorgolewski, Krzysztof and Burns, Christopher D. and Madison, Cindee",
            2011, "Nipype: a flexible, lightweight and extensible neuroimaging data processing "
            "framework in Python",
            "Frontiers in Neuroinformatics", "10.3389/fninf.2011.00013",
        ),
    )
}  # fmt: skip

_MODELS = {"csa": "constant solid angle ODFs", "csd": "constrained spherical deconvolution"}
_MAPS = {"fa": "FA", "gfa": "GFA", "wm": "the fraction of white matter"}
_METHODS = {
    "det": "deterministic",
    "prob": "probabilistic",
    "pft": "particle filtering",
    "eudx": "peak-following",
}


def references(settings: Settings, done: Sequence[Corrections]) -> list[Reference]:
    """The papers behind what was asked for and done to series, in the order of the work."""
    used: set[str | None] = {*settings.model.model, "dipy", "nipype", *_of_raw(done)}
    if "rigid" in used:
        used.add("motion")
    used |= {tissue_rule(settings, method) for method in settings.tracking.tracking}
    if settings.gradients.gradient_check != "off":
        used.add("orientation")
    if needs_tissue(settings):
        used |= {"registration", "segmentation"}
    if "pft" in settings.tracking.tracking:
        used.add("cmc")
    if "gfa" in maps_used(settings):
        used.add("csa")
    order = (
        "mppca", "patch2self", "unring", "motion", "orientation", "registration", "segmentation",
        "csa", "csd", "cmc", "act", "dipy", "nipype",
    )  # fmt: skip
    return [REFERENCES[key] for key in order if key in used]


def _of_raw(done: Sequence[Corrections]) -> dict[str, str]:
    """What was done to raw series, reference by reference, in words."""
    steps = {
        "mppca": ("denoised by Marchenko-Pastur PCA", [one.denoise == "mppca" for one in done]),
        "patch2self": ("denoised by patch2self", [one.denoise == "patch2self" for one in done]),
        "unring": ("freed from Gibbs ringing", [one.unring is not None for one in done]),
        "motion": (
            "corrected for head motion and eddy currents by registration",
            [one.motion == "eddy" for one in done],
        ),
        "rigid": (
            "corrected for head motion by registration", [one.motion == "rigid" for one in done]
        ),
    }  # fmt: skip
    return {
        key: words if all(where) else f"{words} ({sum(where):,} of {len(done):,} series)"
        for key, (words, where) in steps.items()
        if any(where)
    }


def methods(settings: Settings, done: Sequence[Corrections]) -> str:
    """The methods in words, with the parameters that were used."""
    tracking = settings.tracking
    sentences = [f"Diffusion data were processed with bids_tract {__version__}."]
    if steps := list(_of_raw(done).values()):
        sentences.append(f"Raw series were {_listed(steps)}.")
    if settings.gradients.gradient_check != "off":
        sentences.append(
            "The gradient table was checked by the coherence of neighbouring fibre directions."
        )
    if needs_tissue(settings):
        sentences.append(
            "Fractions of white matter, grey matter and CSF came from tissue maps where there "
            "were any, otherwise from a T1-weighted image: registered rigidly to the diffusion "
            "series by mutual information, and divided into tissues and their partial volumes by "
            "expectation-maximisation with a neighbourhood prior and a smooth bias field."
        )
    sentences += [
        f"Fibre orientations were estimated by "
        f"{_listed([_MODELS[model] for model in settings.model.model])}"
        f"{_order(settings.model.sh_order)}.",
        f"Streamlines started from {_seeds(settings.seeding)}. They were made by "
        f"{_listed([_METHODS[method] for method in tracking.tracking])} tracking with steps of "
        f"{tracking.step_mm:g} mm and turns of at most {tracking.max_angle_deg:g} degrees"
        f"{_particles(settings)}. {_ends(settings)} Those between {tracking.min_length_mm:g} and "
        f"{tracking.max_length_mm:g} mm long were kept (random seed "
        f"{settings.seeding.random_seed}).",
    ]
    return " ".join(sentences)


def _order(order: int | None) -> str:
    if order is None:
        return ""
    return f" with spherical harmonics of order {order} where the directions carry it"


def _seeds(asked: SeedingSettings) -> str:
    count = f"{asked.seeds or 1} in each voxel"
    in_all = f"{asked.seeds:,} " if asked.seeds else ""
    among = _voxels(asked.seed_mask, asked.seed_threshold)
    places = {
        "grid": f"seeds on a grid, {count} {among}",
        "random": f"seeds at random places, {count} {among}",
        "total": f"{in_all}seeds at random places in the voxels {among}",
        "interface": f"seeds at random places, {count} where white meets grey matter",
    }[asked.seeding]
    return places if asked.select is None else f"{places}, up to {asked.select:,} streamlines"


def _voxels(chosen: str, bound: Threshold) -> str:
    """Which voxels a map and the bound on it choose."""
    above = f"the top {bound.value:g} %" if bound.percent else f"above {bound.value:g}"
    if chosen in SCALAR_MAPS:
        return f"of {_MAPS[chosen]} {above}"
    return f"of {Path(chosen).name} (a mask, or {above})"


def _particles(settings: Settings) -> str:
    if "pft" not in settings.tracking.tracking:
        return ""
    asked = settings.pft
    return (
        f" (particle filtering: {asked.particles} particles, {asked.pft_back_mm:g} mm back and "
        f"{asked.pft_front_mm:g} mm ahead)"
    )


def _ends(settings: Settings) -> str:
    """Where streamlines ended, method by method where these differ."""
    rules: dict[str, list[str]] = {}
    for method in settings.tracking.tracking:
        rule = tissue_rule(settings, method)
        if rule is None:
            asked = settings.stopping
            words = f"outside the voxels {_voxels(asked.stop_mask, asked.stop_threshold)}"
        else:
            words = {
                "cmc": "by the continuous map criterion", "act": "by anatomical constraints",
            }[rule]  # fmt: skip
        rules.setdefault(words, []).append(_METHODS[method])
    if len(rules) == 1:
        return f"They ended {next(iter(rules))}."
    told = [f"{words} ({_listed(methods)})" for words, methods in rules.items()]
    return f"They ended {_listed(told)}."


def as_markdown(settings: Settings, done: Sequence[Corrections]) -> str:
    """``CITATION.md``: methods and references.

    Parameters
    ----------
    settings : Settings
        What was asked for.
    done : sequence of Corrections
        What is done to each diffusion series.

    """
    listed = "\n".join(f"- {reference.text}" for reference in references(settings, done))
    return f"# Methods\n\n{methods(settings, done)}\n\n# References\n\n{listed}\n"


def as_bibtex(settings: Settings, done: Sequence[Corrections]) -> str:
    """``CITATION.bib``: the references."""
    return "\n".join(reference.bibtex for reference in references(settings, done))


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
