"""Names for the layers of a flat model: their own where free, else with the names of the models around them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Names:
    """Gives each name once, in the order asked: the same model is named alike every time."""

    taken: set[str] = field(default_factory=set)

    def unique(self, path: str) -> str:
        """A free name for the layer at `path`: "conv1" for "backbone/conv1", or "backbone_conv1" if that is taken."""
        own = _allowed(path.rpartition("/")[2])
        wanted = own if self._free(own) else _allowed(path.replace("/", "_"))
        name, number = wanted, 0
        while not self._free(name):
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name.lower())
        return name

    def _free(self, name: str) -> bool:
        # TensorFlow's scopes tell no upper from lower case.
        return name.lower() not in self.taken


def _allowed(name: str) -> str:
    """What TensorFlow takes for the name of a scope: Keras 3 allows anything but a slash."""
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return cleaned if re.match(r"[A-Za-z0-9.]", cleaned) else f"layer{cleaned}"
