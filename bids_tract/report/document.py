"""A page in one file: its frame, its signs, and text that comes from data."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

# Nothing may be fetched, whatever a page holds: only what is inside of it.
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; font-src data:; "
    "script-src 'unsafe-inline' blob:; connect-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
WORDS = {"good": "good", "doubt": "look", "bad": "bad", "unknown": "not known"}
# Shapes differ as well as colours.
_SHAPES = {
    "good": '<circle cx="8" cy="8" r="7"/><path d="M4.5 8.3l2.4 2.4 4.6-5"/>',
    "doubt": '<path d="M8 1.2 15.2 14.5H.8z"/><path d="M8 6v4.2M8 12.2v.3"/>',
    "bad": '<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path d="M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4"/>',
    "unknown": '<circle cx="8" cy="8" r="7" stroke-dasharray="2.5 2"/><path d="M5 8h6"/>',
}
_MEDIA = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"\xff\xd8\xff": "image/jpeg"}
_LINK = re.compile(r"\b(?:https?://[^\s<>\"]+|doi:10\.\d{4,}/[^\s<>\"]+)")


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    anchor : str
        Its name in the page's address.
    title : str
        As in the list of contents; not escaped yet.
    html : str
        Its content.
    parts : sequence of Section
        Sections within, after `html`.

    """

    anchor: str
    title: str
    html: str
    parts: Sequence[Section] = ()


def page(
    title: str,
    lead: str,
    sections: Sequence[Section],
    data: Mapping[str, Iterable[str]],
    scripts: Sequence[str],
    styles: Sequence[str] = (),
) -> Iterator[str]:
    """A whole page, piece by piece: that of a large study need not be in memory at once.

    Parameters
    ----------
    title, lead : str
        Heading (text), and what stands below it (HTML).
    sections : sequence of Section
        Those with parts become headings of their own, the others cards.
    data : mapping of str to (str or iterable of str)
        Text that scripts find by its name, whole or in pieces; base64, or without any ``<``.
    scripts : sequence of str
        Assets: JavaScript at the end of the page.
    styles : sequence of str
        Assets: CSS beside that of all pages.

    """
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} - bids_tract</title>\n"
        '<link rel="icon" href="data:,">\n'
        f"<style>\n{''.join(map(asset, ('page.css', *styles)))}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">To the content</a>\n'
        f'<nav aria-label="Contents">{_contents(sections)}</nav>\n'
        f'<main id="content">\n<h1>{escape(title)}</h1>\n{lead}\n'
    )
    yield from map(_section, sections)
    yield '</main>\n<dialog aria-label="Picture at full size"></dialog>\n'
    for name, content in data.items():
        yield f'<script type="text/plain" id="{escape(name)}">'
        yield from [content] if isinstance(content, str) else content
        yield "</script>\n"
    yield f"<script>\n{''.join(map(asset, scripts))}</script>\n</body>\n</html>\n"


def asset(name: str) -> str:
    """A text of the package's folder ``page``."""
    return files("bids_tract.report").joinpath("page", name).read_text("utf-8")


def _contents(sections: Iterable[Section]) -> str:
    lines = []
    for one in sections:
        kind = ' class="scan"' if one.parts else ""
        below = _contents(one.parts) if one.parts else ""
        lines.append(
            f'<li{kind}><a href="#{escape(one.anchor)}">{escape(one.title)}</a>{below}</li>'
        )
    return f"<ul>{''.join(lines)}</ul>"


def _section(one: Section) -> str:
    anchor, title = escape(one.anchor), escape(one.title)
    if one.parts:
        return (
            f'<section id="{anchor}">\n<h2>{title}</h2>\n{one.html}\n'
            f"{''.join(map(_section, one.parts))}</section>\n"
        )
    return f'<section class="card" id="{anchor}">\n<h3>{title}</h3>\n{one.html}\n</section>\n'


def verdict(kind: str, text: str = "") -> str:
    """A verdict as shape, colour and word."""
    return (
        f'<span class="verdict {kind}"><svg viewBox="0 0 16 16" aria-hidden="true" fill="none" '
        f'stroke="currentColor" stroke-width="1.6">{_SHAPES[kind]}</svg>'
        f"{escape(text or WORDS[kind])}</span>"
    )


def problem(text: str) -> str:
    """What went wrong, so that it is seen."""
    return f'<div class="problem"><p>{escape(text)}</p></div>'


def items(texts: Iterable[str]) -> str:
    """A list of texts."""
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def picture(image: bytes, alt: str, width: int, height: int) -> str:
    """A picture inside the page, that opens at its full size.

    Raises
    ------
    ValueError
        It is neither PNG, WebP nor JPEG.

    """
    kinds = [kind for start, kind in _MEDIA.items() if image.startswith(start)]
    if not kinds:
        raise ValueError("the picture is neither PNG, WebP nor JPEG")
    return (
        '<button type="button" class="picture" title="full size">'
        f'<img src="data:{kinds[0]};base64,{b64encode(image).decode("ascii")}" '
        f'alt="{escape(alt)}" width="{width}" height="{height}" decoding="async"></button>'
    )


def prose(text: str) -> str:
    """Headings, paragraphs and lists of Markdown; all else stands as it is written."""
    parts = list(_prose_parts(text))
    return f'<div class="prose">{"".join(parts)}</div>'


def _prose_parts(text: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith("#"):
            yield f"<h4>{_linked(lines[0].lstrip('# '))}</h4>"
            lines = lines[1:]
        if lines and all(line.startswith(("- ", "* ", "  ")) for line in lines):
            entries = re.split(r"\n[-*] ", "\n" + "\n".join(lines))[1:]
            listed = [_linked(" ".join(entry.split())) for entry in entries]
            yield f"<ul>{''.join(f'<li>{entry}</li>' for entry in listed)}</ul>"
        elif lines:
            yield f"<p>{_linked(' '.join(lines))}</p>"


def _linked(text: str) -> str:
    """Escaped text whose addresses can be clicked."""
    parts, end = [], 0
    for match in _LINK.finditer(text):
        address = match[0].rstrip(".,;)")
        target = address.replace("doi:", "https://doi.org/", 1)
        parts += [
            escape(text[end : match.start()]),
            f'<a href="{escape(target)}" rel="noreferrer">{escape(address)}</a>',
        ]
        end = match.start() + len(address)
    return "".join([*parts, escape(text[end:])])
