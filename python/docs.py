"""Writes the pages of the book that follow from the package: its API from the stubs and docstrings, and the gallery from the
notebooks.

    target/python/bin/python python/docs.py api > docs/src/python-api.md
    target/python/bin/python python/docs.py gallery > docs/src/gallery.md    # and its pictures, from target/notebooks
"""

import ast
import base64
import inspect
import json
import sys
from pathlib import Path

import issc

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python/package/issc"

SECTIONS = {
    "Scenes": ["Scene"],
    "Bounds and beams": ["fim", "hcrb", "Bound", "optimize", "optimize_batch", "Plan"],
    "Pictures": ["Codec", "Coded", "Decoded", "mse", "psnr_db", "ms_ssim", "read_picture", "shipped_pictures"],
    "Channel code and frames": ["LinkCode", "FrameModem", "ReceivedFrame"],
    "The world and the estimator": ["World", "Estimator", "EchoFrame", "Estimate", "LikelihoodMap", "EchoTrials"],
    "Systems": ["System", "Run", "Events", "data_frame", "Request", "Recording", "read_recording"],
    "Measurements and sweeps": ["sense", "link", "robustness", "codec_curve", "merge", "sweep"],
    "Exceptions": [
        "Error",
        "InputError",
        "InfeasibleError",
        "DeviceError",
        "PeerError",
        "DamagedError",
        "InternalError",
    ],
}


def definitions() -> dict[str, ast.ClassDef | ast.FunctionDef]:
    """Every public definition by its name, from the stubs and the modules in Python."""
    found = {}
    for file in [PACKAGE / "_native.pyi", PACKAGE / "_frames.py", PACKAGE / "_sweep.py"]:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found[node.name] = node
    return found


def signature(node: ast.FunctionDef, name: str | None = None) -> str:
    """The line of a function as it is called."""
    text = ast.unparse(node.args)
    for own in ("self, ", "cls, "):
        text = text.removeprefix(own)
    text = "" if text in ("self", "cls") else text
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__new__" else ""
    return f"{name or node.name}({text}){returns}"


def docstring(value: object) -> str:
    """Its text; examples as code."""
    lines, code = [], False
    for line in (inspect.getdoc(value) or "").splitlines():
        is_code = line.startswith((">>>", "..."))
        if is_code != code:
            lines.append("```python" if is_code else "```")
        code = is_code
        lines.append(line if not is_code else line[4:])
    if code:
        lines.append("```")
    return "\n".join(lines)


def entry(name: str, node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """One name of the package."""
    value = getattr(issc, name)
    if isinstance(node, ast.FunctionDef):
        return [f"### {name}", "", "```python", signature(node), "```", "", docstring(value), ""]
    lines = [f"### {name}", "", docstring(value), ""]
    new = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__new__"), None)
    if new is not None:
        lines[1:1] = ["", "```python", signature(new, name), "```"]
    rows = []
    for member in node.body:
        if not isinstance(member, ast.FunctionDef) or member.name.startswith("_"):
            continue
        marks = {ast.unparse(mark) for mark in member.decorator_list}
        text = " ".join((inspect.getdoc(getattr(value, member.name)) or "").split()).replace("|", "\\|")
        shown = member.name if "property" in marks else signature(member)
        kind = f": {ast.unparse(member.returns)}" if "property" in marks and member.returns is not None else ""
        rows.append(f"| `{shown}{kind}` | {text} |".replace(" | None", " \\| None"))
    if rows:
        lines += ["| member | what it is |", "|---|---|", *rows, ""]
    return lines


def api() -> str:
    """The page of the API."""
    known = definitions()
    missing = set(issc.__all__) - {name for names in SECTIONS.values() for name in names}
    if missing:
        raise SystemExit(f"no section has {sorted(missing)}")
    lines = ["# Python: the API", "", "Made from the stubs and docstrings of the package by `python/docs.py`; [Python](python.md) begins with it.", ""]
    for section, names in SECTIONS.items():
        lines += [f"## {section}", ""]
        for name in names:
            lines += entry(name, known[name])
    return "\n".join(lines).rstrip() + "\n"


def gallery() -> str:
    """The page of figures, each with the code that draws it; the pictures go beside it."""
    import nbformat

    lines = ["# Gallery", "", "Figures of the notebooks in `python/notebooks`, each with its code. `./prove notebooks` runs them all.", ""]
    for file in sorted((ROOT / "target/notebooks").glob("*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        count = 0
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                title, _, rest = cell.source.partition("\n")
                lines += [f"#{title}", *([rest.strip()] if rest.strip() else []), ""]
                continue
            lines += ["```python", cell.source, "```", ""]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    count += 1
                    name = f"gallery-{file.stem}-{count}.png"
                    (ROOT / "docs/src" / name).write_bytes(base64.b64decode(output["data"]["image/png"]))
                    lines += [f"![{title.lstrip('# ')}]({name})", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    pages = {"api": api, "gallery": gallery}
    if len(sys.argv) != 2 or sys.argv[1] not in pages:
        raise SystemExit(f"{json.dumps(sys.argv[1:])}; accepted: api, gallery")
    sys.stdout.write(pages[sys.argv[1]]())
