"""The book's own small Sphinx extension, named in _config.yml: alt texts and captions of output figures, formulas, links to terms, buttons."""

import base64
import hashlib
import html
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

from spokendigits.plots import described

# Of the glossary: its terms, each a heading, and what explains them. JupyterLab and GitHub can show that, and lead to a term.
ENTRY = re.compile(r"((?:^### .+\n+)+)((?:^[^#\n].*\n)+)\n*", re.MULTILINE)
BIBLIOGRAPHY = "\n```{bibliography}\n:all:\n:style: plain\n```\n"
SHORTEST_ALT_TEXT = 20  # characters: shorter is a label, not a description
SENTENCE = re.compile(r"[A-Z](?:\S* ){5,}\S*[.!?]")  # of six words or more: less is a label, not a caption

# The pages that hear a microphone, and their scripts.
COMMON = ("built.js", "sound.js", "model.js", "page.js")
LISTENS = {
    "book/say_a_digit": (*COMMON, "say.js"),
    "book/teach_it": (*COMMON, "teach.js"),
}
DRAWING = ("d3.min.js", "plot.umd.min.js")
# The figures that move, each a <div class="moving" data-moving="NAME"> of a page, and their scripts in _static/moving.
MOVING = {
    "sample": ("intervals.js", "sample.js"),
    "price": ("price.js",),
    "lab": ("frontend.js", "lab.js"),
    "break": ("frontend.js", "disturb.js", "break.js"),
    "front": ("frontend.js", "disturb.js", "front.js"),
    "mistakes": ("mistakes.js",),
    "map": ("map.js",),
}
WITHOUT_CHART = {"front"}
MOVES = re.compile(r'class="moving" data-moving="(\w+)"')
# What these pages may load and ask: files of the book, from a server or a disk, and what it makes itself. Nothing may be sent.
OWN = "'self' file:"
POLICY = (
    f"default-src 'none'; base-uri 'none'; form-action {OWN}; script-src {OWN} blob: 'wasm-unsafe-eval' 'unsafe-hashes' {{}}; "
    f"style-src {OWN} 'unsafe-inline'; font-src {OWN} data:; img-src {OWN} data: blob:; media-src {OWN} data: blob:"
)
# Font Awesome as the theme brings it: a script with all of its icons, a style sheet that shows them too, and faces for that.
AWESOME = re.compile(
    r'<script src="[^"]*fontawesome[^"]*"></script>|<link rel="preload" as="font"[^>]*fontawesome[^>]*>'
)
FACE = re.compile(r"@font-face\{([^}]*?)src:url\(\.\./webfonts/([\w-]+)\.woff2\)[^}]*\}")
FACES = {
    "fa-solid-900": r"\bfas\b|\bfa-solid\b",
    "fa-brands-400": r"\bfab\b|\bfa-brands\b",
    "fa-regular-400": r"\bfar\b|\bfa-regular\b",
}
INLINE = re.compile(r"<script(?![^>]* src=)[^>]*>(.*?)</script>|\son\w+=\"([^\"]*)\"", re.DOTALL)


def setup(app) -> dict:
    """Registers the extension with Sphinx (named under `extra_extensions` in _config.yml)."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("source-read", _direct)
    app.connect("doctree-read", _describe_figures)
    app.connect("doctree-read", _anchor_terms)
    # Later than the theme, which makes its launch buttons at 501.
    app.connect("html-page-context", _finish_page, priority=502)
    app.connect("build-finished", _finish_book)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _formula(writer, node) -> None:
    """Writes a formula, in a line or on its own, as MathML, which browsers draw themselves."""
    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def _direct(app, docname, source) -> None:
    """Makes Sphinx's directives of the two pages that are plain Markdown for whoever reads them without Sphinx."""
    if docname == "book/glossary":
        source[0] = ENTRY.sub(_entry, source[0])
    elif docname == "book/references":
        source[0] = source[0].partition("\n### ")[0] + BIBLIOGRAPHY


def _entry(found: re.Match) -> str:
    terms, said = found[1].replace("### ", "").replace("\n\n", "\n"), re.sub(r"(?m)^", "  ", found[2].rstrip())
    return f"```{{glossary}}\n{terms}{said}\n```\n\n"


def _describe_figures(app, doctree) -> None:
    """Gives every figure among the outputs its own alt text and its own caption; refuses a caption that is only a label.

    The course's figures carry both as their plain text, beside the picture (`plots.describe`). myst-nb knows one alt text a
    cell, taken from the cell's metadata, and a cell may show several figures.
    """
    warn, place = logging.getLogger(__name__).warning, 1
    for bundle in doctree.findall(nodes.container):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        plain = [part.astext() for part in bundle.children if part.get("mime_type") == "text/plain"]
        alt, caption = described("".join(plain))
        for image in list(bundle.findall(nodes.image)):
            if len(alt) < SHORTEST_ALT_TEXT or alt.startswith("<"):
                said = f"a figure among the outputs has no description, only {alt!r}. Give its plain text one sentence."
                warn(said, location=bundle)
            image["alt"] = alt
            if caption:
                figure = nodes.figure("", align="default", ids=[f"output-figure-{place}"])
                place += 1
                image.replace_self(figure)
                figure += [image, nodes.caption("", caption)]
    for figure in doctree.findall(nodes.figure):
        caption = " ".join(" ".join(part.astext() for part in figure.findall(nodes.caption)).split())
        if not SENTENCE.fullmatch(caption):
            said = f"a figure has no sentence below it, only {caption!r}. Say how to read it (`plots.describe`)."
            warn(said, location=figure)


def _anchor_terms(app, doctree) -> None:
    """Lets a plain link lead to a term of the glossary or to a reference: `[hop](../book/glossary.md#hop)`.

    A notebook has no other kind of link that JupyterLab shows as one. Of a page's anchors MyST knows only the headings, and
    warns of all others; so a link to a term that is not there still stops the build.
    """
    page = app.env.docname
    terms = [(term, name) for term in doctree.findall(nodes.term) for name in term["ids"]]
    anchors = {
        place: (term.line, name, term.astext()) for term, name in terms for place in (name, name.removeprefix("term-"))
    }
    for key, bibliography in app.env.get_domain("cite").bibliographies.items():
        if key.docname == page:
            places = {name: node["ids"][0] for name, node in bibliography.citation_nodes.items()}
            anchors |= {place: (None, place, name) for name, place in places.items()}
    app.env.metadata[page].setdefault("myst_slugs", {}).update(anchors)


def _finish_page(app, pagename, templatename, context, doctree) -> None:
    """Adds a button and the scripts of the pages that listen; takes out what jupyter-book adds and the book has no use for."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            button = {"type": "link", "text": "JupyterLab", "icon": "fas fa-flask"}
            button["tooltip"] = "Open in JupyterLab on this computer, once `make lab` has started it"
            # `make lab` serves the whole checkout at the usual port, so that links to other pages lead somewhere.
            button["url"] = f"http://localhost:8888/lab/tree/{pagename}.ipynb"
            group["buttons"].append(button)
    scripts, sheets = [f"say/{script}" for script in LISTENS.get(pagename, ())], ["say/say.css"] * (pagename in LISTENS)
    if moving := dict.fromkeys(MOVES.findall(context.get("body", ""))):
        named = dict.fromkeys(script for name in moving for script in MOVING[name])
        drawing = DRAWING if moving.keys() - WITHOUT_CHART else ()
        scripts += [f"say/{script}" for script in COMMON]
        scripts += [f"moving/{script}" for script in (*drawing, "moving.js", *named)]
        sheets.append("moving/moving.css")
    for sheet in sheets:
        app.add_css_file(sheet)
    for script in scripts:
        app.add_js_file(script, loading_method="defer")
    # Scripts of thebe, which jupyter-book always adds: unused here, and they name another host.
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if "thebe" not in f"{file} {vars(file)}".lower()]
    if (
        "body" in context
    ):  # The items of a reference list have a role of their own: a screen reader would find it empty.
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def _finish_book(app, exception) -> None:
    """Takes Font Awesome's script out of every page, half of whose weight it is, and writes a policy into the pages that listen."""
    if exception is not None:
        return
    used = set()
    for page in Path(app.outdir).rglob("*.html"):
        text = AWESOME.sub("", page.read_text(encoding="utf-8"))
        classes = " ".join(re.findall(r'class="([^"]*)"', text))
        used |= {name for name, pattern in FACES.items() if re.search(pattern, classes)}
        page.write_text(_guarded(text) if f"say/{COMMON[0]}" in text else text, encoding="utf-8")
    for folder in Path(app.outdir).glob("_static/vendor/fontawesome/*"):
        _carry_faces(folder, used)


def _carry_faces(folder: Path, used: set[str]) -> None:
    """Packs the faces that are used into Font Awesome's style sheet: not every browser reads a face from a disk. All else goes."""
    faces = {name: base64.b64encode((folder / f"webfonts/{name}.woff2").read_bytes()).decode() for name in used}

    def packed(face: re.Match) -> str:
        if face[2] not in faces or "Awesome\\ 6" not in face[1]:  # of the others, older names
            return ""
        return f'@font-face{{{face[1]}src:url(data:font/woff2;base64,{faces[face[2]]}) format("woff2")}}'

    sheet = folder / "css" / "all.min.css"
    sheet.write_text(FACE.sub(packed, sheet.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.rmtree(folder / "js")
    shutil.rmtree(folder / "webfonts")


def _guarded(text: str) -> str:
    """A page with a content security policy; of inline scripts it lets the theme's own run, by their digests."""
    scripts = {script or html.unescape(handler) for script, handler in INLINE.findall(text)}
    digests = sorted(base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    policy = POLICY.format(" ".join(f"'sha256-{digest}'" for digest in digests))
    tag = f'<head>\n    <meta http-equiv="Content-Security-Policy" content="{policy}" />'
    return text.replace("<head>", tag, 1)
