"""Write docs/python.md, the reference of what `polserve` exports, from its docstrings.

Run it by `python docs/python_reference.py`.
"""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import polserve

PAGE = Path(__file__).with_name("python.md")
HEAD = """# Python

What `import polserve` offers. Each name is imported when you first use it, so that an application which only asks for
actions never pays for torch. This page is made from the docstrings, by `python docs/python_reference.py`.

"""
GROUPS = (
    (
        "Training, evaluating, promoting",
        "They need the extra `training`. Each does what the command of its name does, and raises where that exits.",
        (
            "train",
            "TrainedVersion",
            "export",
            "ImportedVersion",
            "evaluate",
            "Evaluation",
            "promote",
            "Decision",
            "rollback",
        ),
    ),
    ("A version in this process", "", ("load", "LoadedPolicy")),
    ("The client", "", ("PolicyClient", "AsyncPolicyClient", "Episode", "AsyncEpisode")),
)
SECTIONS = ("Args", "Returns", "Raises", "Yields")


def page() -> str:
    """Write the whole page."""
    named = {name for _, _, names in GROUPS for name in names}
    rest = tuple(name for name in polserve.__all__ if name not in named)
    groups = (*GROUPS, ("What calls take, answer and raise", "", rest))
    parts = [HEAD]
    for title, lead, names in groups:
        parts += [f"## {title}\n\n", f"{lead}\n\n" if lead else ""]
        parts += [part for name in names for part in _entry(name, getattr(polserve, name))]
    return "".join(parts).rstrip() + "\n"


def _entry(name: str, value: object) -> Iterator[str]:
    yield f"### {name}\n\n"
    if isinstance(value, ModuleType):
        yield _text(value)
        for inner in value.__all__:
            made_there = getattr(value, inner)
            if inspect.isfunction(made_there) or inspect.isclass(made_there):
                yield f"#### {name}.{inner}\n\n"
                yield from _callable(f"{name}.{inner}", made_there)
        return
    yield from _callable(name, value)
    if inspect.isclass(value):
        for field, text in _fields(value):
            yield f"- `{field}`: {text}\n"
        yield "\n"
        for method, function in inspect.getmembers_static(value):
            is_public = not method.startswith("_") and method in vars(value)
            if is_public and isinstance(function, property):
                yield f"- `{method}`: {_first_line(function)}\n"
        yield "\n"
        for method, function in vars(value).items():
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"#### {name}.{method}\n\n"
                yield from _callable(f"{name}.{method}", function)


def _callable(name: str, value: object) -> Iterator[str]:
    """Write the signature and the docstring."""
    if not inspect.isclass(value) or ("__init__" in vars(value) and not hasattr(value, "__dataclass_fields__")):
        yield f"```python\n{_signature(name, value)}\n```\n\n"
    yield _text(value)


def _signature(name: str, value: object) -> str:
    assert callable(value)  # noqa: S101 - for the type checker
    signature = inspect.signature(value)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    written = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    line = f"{name}{_readable(written)}"
    if len(line) > 100:  # noqa: PLR2004 - characters that fit beside a table of contents
        line = f"{name}(\n" + "".join(f"    {_readable(p)},\n" for p in _starred(parameters)) + ")"
    return line


def _starred(parameters: list[inspect.Parameter]) -> Iterator[object]:
    """Yield the parameters, with a star before the first that must be named."""
    is_named = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not is_named:
            is_named = True
            yield "*"
        yield parameter


def _readable(value: object) -> str:
    """Annotations without the modules that they come from."""
    text = re.sub(r"numpy\.ndarray\[tuple\[Any, \.\.\.\], numpy\.dtype\[(\w+)\]\]", r"ndarray[\1]", str(value))
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)
    text = re.sub(r"<\w+\.\w+: ('[^']*')>", r"\1", text)
    return re.sub(r"<[^<>]* object at 0x[0-9a-f]+>", "...", text)


def _text(value: object) -> str:
    """Return the docstring, with its sections as lists."""
    text = inspect.getdoc(value) or ""
    titles = "|".join(SECTIONS)
    text = re.sub(rf"^({titles}):\n((?:[ ]+.*\n?|\n)*)", _section, text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n\n"


def _section(match: "re.Match[str]") -> str:
    title, body = match.group(1), textwrap.dedent(match.group(2)).rstrip()
    items = re.split(r"\n(?=\S)", body)
    lines = []
    for item in items:
        name, separator, rest = item.partition(": ")
        said = " ".join(rest.split()) if separator else " ".join(item.split())
        lines.append(f"- `{name}`: {said}" if separator and " " not in name else f"- {' '.join(item.split())}")
    return f"**{title}**\n\n" + "\n".join(lines) + "\n\n"


def _fields(value: type) -> Iterator[tuple[str, str]]:
    """Public fields of a dataclass, with the docstring that stands below each."""
    if not hasattr(value, "__dataclass_fields__"):
        return
    module = importlib.import_module(value.__module__)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == value.__name__)
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            is_told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            said = str(after.value.value) if is_told else f"`{ast.unparse(node.annotation)}`"  # type: ignore[union-attr]
            yield node.target.id, " ".join(said.split())


def _first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def main(write: Callable[[str], object] = PAGE.write_text) -> None:
    """Write the page."""
    write(page())


if __name__ == "__main__":
    main()
    sys.stdout.write(f"wrote {PAGE}\n")
