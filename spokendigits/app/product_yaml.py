"""Reads an experiment's configuration as H2O Hydrogen Torch saves it: `spokendigits train --recipe cfg.yaml`."""

from pathlib import Path

from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe, read_settings

TYPES = {
    "int": int,
    "float": float,
    "bool": bool,
    "first": lambda folds: int(folds[0]),  # of the folds that are held out
    "whole": lambda seed: max(int(seed), 0),  # -1 is "draw one", and a course must be repeatable
}


def read_recipe(path: Path | str) -> tuple[Recipe, dict]:
    """Reads either form of YAML, the course's own or the product's (hydrogen_torch.yaml says which of its settings are used).

    Returns the recipe, and the product's settings that it does not use as {"group.name": value} (none for the course's).
    Raises CourseError for a file that is neither, or a value that the course cannot follow.
    """
    product = read_settings(path)
    if "architecture" not in product:
        return Recipe.from_yaml(path), {}
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
                raise CourseError(f"{path}: {full} is {value!r}, which this course cannot follow.") from None
    if not settings:
        raise CourseError(f"{path}: no setting of Hydrogen Torch found.")
    if product.get("augmentation", {}).get("mix_audio", "Disabled") == "Disabled":
        settings["mix_probability"] = 0.0
    return Recipe(**settings), unused
