"""Any valid settings, made from the declarations of the options themselves."""

from __future__ import annotations

import string
from dataclasses import Field
from typing import Any

from hypothesis import strategies as st

from bids_tract.settings import Response, Threshold, Values, all_options, values

LABELS = st.text(string.ascii_letters + string.digits + "+", min_size=1, max_size=6)
# No surrogates, which no file holds, and no dash in front, which is an option's mark.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
TEXTS = TEXTS.filter(lambda text: not text.startswith("-"))
SHARES = st.floats(0, 100, exclude_min=True)
EVALS = st.tuples(*[st.floats(0, 0.1)] * 3).map(lambda e: tuple(sorted(e, reverse=True)))
BY_PARSER: dict[Any, st.SearchStrategy[Any]] = {
    values.as_flag: st.booleans(),
    values.as_label: LABELS,
    values.as_path: TEXTS,
    values.as_memory: st.floats(1e-3, 1e6),
    values.as_axes: st.permutations(["i", "j-", "k"]).map(",".join),
    values.as_threshold: st.builds(Threshold, st.floats(0, 1e6))
    | st.builds(Threshold, SHARES, st.just(True)),
    values.as_response: st.none()
    | st.builds(Response, EVALS.filter(lambda e: e[0] > 0), st.floats(1e-3, 1e6)),
}
# What has a rule beyond its own range.
SPECIAL = {
    "sh_order": st.sampled_from([2, 4, 6, 8, 10, 12]),
    "seeds": st.integers(1, 50).map(lambda edge: edge**3),
    "min_length_mm": st.floats(0, 50),
    "max_length_mm": st.floats(50, 1000),
}


def values_of(setting: Field[Any]) -> st.SearchStrategy[Any]:
    """Values that an option takes."""
    meta = setting.metadata
    if setting.name in SPECIAL:
        one = SPECIAL[setting.name]
    elif meta["choices"]:
        one = st.sampled_from(meta["choices"])
    elif meta["parse"] is values.as_integer:
        one = st.integers(meta["low"], meta["high"])
    elif meta["parse"] is values.as_number:
        low = meta["above"] if meta["low"] is None else meta["low"]
        one = st.floats(low, meta["high"] or 1e6, exclude_min=meta["low"] is None)
    else:
        one = BY_PARSER[meta["parse"]]
    if meta["many"]:
        return st.lists(one, min_size=1, max_size=3, unique=True).map(tuple)
    return one


@st.composite
def any_values(draw: st.DrawFn) -> Values:
    """Some options said, the others not; no contradictions."""
    said: Values = {}
    for section, setting in all_options():
        if draw(st.booleans()):
            said.setdefault(section, {})[setting.name] = draw(values_of(setting))
    if "pft" in said.get("tracking", {}).get("tracking", ()):
        said.get("stopping", {}).pop("stopping", None)
    return said
