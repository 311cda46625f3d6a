"""What is said of the package: stubs, docstrings."""

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import issc
import pytest

ROOT = Path(__file__).parents[1]
UNITS = ("_m", "_s", "_w", "_hz", "_db", "_dbm", "_m2", "_rad", "_bits")


def members(value: object) -> dict[str, object]:
    """Public methods and properties of a class."""
    return {name: member for name, member in vars(value).items() if not name.startswith("_")}


def test_every_public_name_has_a_docstring_and_arrays_have_shapes() -> None:
    arrays = 0
    stubs = {node.name: node for node in ast.parse((ROOT / "package/issc/_native.pyi").read_text()).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for name in issc.__all__:
        value = getattr(issc, name)
        assert inspect.getdoc(value), f"{name} has no docstring"
        if inspect.isclass(value) and not issubclass(value, Exception):
            for member, found in members(value).items():
                if member == "lag_samples":
                    continue
                text = inspect.getdoc(found)
                assert text, f"{name}.{member} has no docstring"
                stub = next((n for n in stubs[name].body if isinstance(n, ast.FunctionDef) and n.name == member), None)
                if stub is not None and stub.returns is not None and "NDArray" in ast.unparse(stub.returns):
                    arrays += 1
                    assert "[" in text, f"{name}.{member} gives an array of no known shape"
    assert arrays > 20


def test_stubs_name_what_is_there_and_nothing_else() -> None:
    tree = ast.parse((ROOT / "package/issc/_native.pyi").read_text())
    from issc import _native

    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            value = getattr(_native, node.name)
            if isinstance(node, ast.ClassDef):
                stubbed = {n.name for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")}
                stubbed |= {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
                there = set(members(value))
                assert there <= stubbed, (node.name, there - stubbed)
                # A plan's attributes are the keys of its report.
                missing = stubbed - there - (set(issc.optimize(issc.Scene.load("paper")).to_dict()) if node.name == "Plan" else set())
                assert not missing, (node.name, missing)
    public = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and not n.name.startswith("_")}
    assert public <= set(issc.__all__)


def test_stubs_pass_mypy_strict() -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("no mypy: stubs are not checked")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(ROOT / "package"), str(ROOT / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
