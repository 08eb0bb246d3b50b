"""Task: what a model's outputs mean, how they are trained and how they are scored. One file a task in `tasks/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Task(Settings, ABC):
    """The meaning of the outputs.

    Class attributes:
        metric: name of the headline figure, `accuracy`.
        unit: its unit in reports, `` for a share.
        output_error_meaning: what `output_error` measures, in a few words.
    """

    metric: ClassVar[str]
    unit: ClassVar[str] = ""
    output_error_meaning: ClassVar[str]

    @abstractmethod
    def check_targets(self, y: NDArray[Any], split: str, num_outputs: int | None = None) -> NDArray[Any]:
        """Refuse targets that cannot be trained on; return them in the type that training takes.

        Args:
            y: targets of one split, (n, ...).
            split: its name, for the message.
            num_outputs: what `num_outputs` said of the training split; None for that split itself.

        Raises:
            DataError: what is wrong with which split, and how to mend it.
        """

    @abstractmethod
    def num_outputs(self, y_train: NDArray[Any]) -> int:
        """How many numbers the model's last layer must give for these training targets."""

    @abstractmethod
    def loss(self, model: Any) -> Any:
        """The Keras loss that fits this model's last layer (logits or probabilities)."""

    @abstractmethod
    def keras_metrics(self) -> list[Any]:
        """Keras metrics to watch while training."""

    @abstractmethod
    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        """The headline figure, higher is better.

        Args:
            y: true targets, (n, ...).
            outputs: what the model gave, dequantized, (n, outputs).
        """

    @abstractmethod
    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        """Every other figure of this task, as JSON-ready values."""

    @abstractmethod
    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """Share of examples on which two models decide alike, 0 to 1."""

    @abstractmethod
    def output_error(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """How far the outputs of two models lie apart, 0 for the same; `output_error_meaning` says in what sense."""
