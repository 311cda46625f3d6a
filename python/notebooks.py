"""Runs every notebook without a window and prints a JSON object each: name, seconds, figures, or what failed.

    target/python/bin/python python/notebooks.py [NAME…]

The notebooks as they ran are left in target/notebooks, with their figures as PNG files beside them.
"""

import base64
import json
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent / "notebooks"
OUT = Path(__file__).parents[1] / "target/notebooks"

# A cell that takes longer is stuck.
CELL_S = 300


def run(file: Path) -> dict[str, object]:
    """Runs one notebook."""
    notebook = nbformat.read(file, as_version=4)
    begin = time.monotonic()
    failure = None
    try:
        NotebookClient(notebook, timeout=CELL_S, kernel_name="python3", resources={"metadata": {"path": OUT}}).execute()
    except CellExecutionError as error:
        failure = str(error)
    seconds = time.monotonic() - begin
    nbformat.write(notebook, OUT / file.name)
    figures = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                figures += 1
                (OUT / f"{file.stem}-{figures}.png").write_bytes(base64.b64decode(output["data"]["image/png"]))
    return {"name": file.stem, "seconds": round(seconds, 1), "figures": figures, "failure": failure}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    files = sorted(FOLDER.glob("*.ipynb"))
    wanted = [file for file in files if len(sys.argv) == 1 or file.stem in sys.argv[1:]]
    failed = False
    for file in wanted:
        result = run(file)
        failed |= result["failure"] is not None
        print(json.dumps(result), flush=True)
    sys.exit(failed or not wanted)


if __name__ == "__main__":
    main()
