"""The page of the API is what `python/docs.py` prints."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_api_is_made_from_the_package() -> None:
    done = subprocess.run([sys.executable, ROOT / "python/docs.py", "api"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = "docs/src/python-api.md"
    assert done.stdout == (ROOT / page).read_text(), f"`python python/docs.py api > {page}`"


def test_every_notebook_is_committed_without_what_it_printed() -> None:
    notebooks = sorted((ROOT / "python/notebooks").glob("*.ipynb"))
    assert len(notebooks) == 6
    assert all('"outputs": []' in text and "image/png" not in text for text in (file.read_text() for file in notebooks))
