"""Recipes in YAML, the course's own or as H2O Hydrogen Torch saves them: `spokendigits train --recipe cfg.yaml`."""

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from spokendigits.errors import CourseError
from spokendigits.recipe import PRESETS, Recipe

TYPES = {  # by way of text: numbers may stand there as text, but no text is a truth, and no truth a number
    "int": lambda value: int(str(value)),
    "float": lambda value: float(str(value)),
    "bool": lambda value: {"True": True, "False": False}[str(value)],
    "first": lambda folds: int(str(folds[0])),  # of the folds that are held out
    "whole": lambda seed: max(int(str(seed)), 0),  # -1 is "draw one", and a course must be repeatable
}


class _Loader(yaml.SafeLoader):
    """Reads as YAML 1.2 does: `no` is a word, 010 ten, 1e-3 a number; but no name twice, nor aliases, which can grow without end."""

    yaml_implicit_resolvers = {}

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*) is not read here, write its value")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names = [str(key.value) for key, _ in node.value]
        if len(set(names)) < len(names):
            raise yaml.YAMLError(f"{max(names, key=names.count)} is given twice")
        return super().construct_mapping(node, deep)


for kind, pattern in {
    "null": "|~|null|Null|NULL",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?\d+",
    "float": r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"({pattern})$"), None)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def parse(text: str) -> Any:
    """A value in YAML. Raises yaml.YAMLError."""
    try:
        return yaml.load(text, _Loader)
    except (RecursionError, ValueError) as error:  # such as a number of 5,000 digits
        raise yaml.YAMLError(str(error)) from None


def read_settings(path: Path | str) -> dict:
    """What a YAML file of settings says. CourseError if it is not there, or holds something else."""
    try:
        if Path(path).exists() and not (Path(path).is_file() and Path(path).stat().st_size < 100_000):
            raise CourseError(f"{path}: a directory, a pipe or too large: no file of settings.")
        value = parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(f"{path}: {error.strerror.lower()}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise CourseError(f"{path}: not readable as YAML ({str(error).splitlines()[0]}).") from error
    if not (isinstance(value, dict) and all(isinstance(name, str) for name in value)):
        raise CourseError(f"{path}: expected settings, one 'name: value' a line.")
    return value


def read_recipe(path: Path | str) -> tuple[Recipe, dict]:
    """A preset by its name, or what a file says in either form (hydrogen_torch.yaml: which of the product's settings are used).

    Returns the recipe, and the product's settings that it does not use as {"group.name": value} (none for the course's).
    Raises CourseError for a file that is neither, or a value that the course cannot follow.
    """
    if str(path) in PRESETS:
        return Recipe.preset(str(path)), {}
    product = read_settings(path)
    if "architecture" not in product:
        return Recipe(**product), {}
    known = read_settings(Path(__file__).with_name("hydrogen_torch.yaml"))
    settings, unused = {}, {}
    for group, values in product.items():
        for name, value in values.items() if isinstance(values, dict) else [("", values)]:
            full = f"{group}.{name}".rstrip(".")
            if (how := known.get(full)) is None:
                unused[full] = value
                continue
            try:
                words, text = how.get("words"), str(value)
                usual = {text: text} if how.get("others") else {}
                settings[how.get("as", name)] = (usual | words)[text] if words else TYPES[how["type"]](value)
            except (KeyError, TypeError, ValueError, IndexError):
                raise CourseError(
                    f"{path}: {full} is {reprlib.repr(value)}, which this course cannot follow."
                ) from None
    if not settings:
        raise CourseError(f"{path}: no setting of Hydrogen Torch found.")
    augmentation = product.get("augmentation")
    if not isinstance(augmentation, dict) or augmentation.get("mix_audio", "Disabled") == "Disabled":
        settings["mix_probability"] = 0.0
    return Recipe(**settings), unused
