"""Settings, as people write them."""

import yaml

DEFAULTS = {"folder": "inbox", "keep_days": 30}


def read(path):
    """The settings of a file, over the defaults. A key that is not known is refused."""
    with open(path, encoding="utf-8") as file:
        given = yaml.load(file, Loader=yaml.Loader) or {}
    unknown = set(given) - set(DEFAULTS)
    if unknown:
        raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
    return {**DEFAULTS, **given}
