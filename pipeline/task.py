"""Task: what a model's outputs mean, how they are trained and how they are scored. One file a task in `tasks/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


class Task(Settings, ABC):
    """The meaning of the outputs.

    Class attributes:
        metric: name of the headline figure, `accuracy`.
        unit: its unit in reports, `` for a share.
        agreement_meaning: what `agreement` counts, in a few words.
        output_error_meaning: what `output_error` measures, in a few words.
    """

    metric: ClassVar[str]
    unit: ClassVar[str] = ""
    agreement_meaning: ClassVar[str] = "decides as the baseline does"
    output_error_meaning: ClassVar[str]

    @classmethod
    def task_name(cls) -> str:
        """The name in recipes: the file's."""
        return cls.__module__.rsplit(".", 1)[-1]

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

    def keep_for_training(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Which examples training may see, (n,); all of them unless the task says otherwise.

        Args:
            y: targets of the training or validation split, as `check_targets` returned them, (n, ...).
        """
        import numpy as np

        return np.ones(len(y), bool)

    @abstractmethod
    def num_outputs(self, y_train: NDArray[Any]) -> int:
        """How many numbers the model's last layer must give for these training targets."""

    def output_shape(self, num_outputs: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one output, without batch, that a model of this task must have."""
        return (num_outputs,)

    def training_target(self, x: Any, y: Any) -> Any:
        """What the model is trained towards, for a batch of tensors: the targets, unless the task says otherwise."""
        return y

    @abstractmethod
    def loss(self, model: Any) -> Any:
        """The Keras loss that fits this model's last layer (logits or probabilities)."""

    def soft_loss(self, student: Any, teacher: Any, temperature: float) -> Callable[[Any, Any], Any]:
        """How far a student's outputs are from its teacher's: their mean squared distance, if the task says no other.

        Args:
            student, teacher: Keras models; what they end in (logits or probabilities) may differ.
            temperature: softens both where the outputs are chances; 1 leaves them as they are.

        Returns:
            A function of a batch of outputs (student's, teacher's), as tensors, to one number.
        """
        from pipeline._tf import tf

        return lambda ours, theirs: tf.reduce_mean(tf.square(ours - theirs))

    @abstractmethod
    def keras_metrics(self, model: Any) -> list[Any]:
        """Keras metrics to watch while training, fit for this model's last layer."""

    def readout(self, x: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is kept of a batch of outputs to score it: the outputs themselves, unless the task says otherwise.

        Args:
            x: the inputs, (b, ...).
            outputs: what the model gave for them, dequantized, (b, ...).

        Returns:
            One row an example, (b, ...).
        """
        return outputs

    @abstractmethod
    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        """The headline figure, higher is better.

        Args:
            y: true targets, (n, ...).
            outputs: what `readout` kept of the model's answers, (n, ...). So it is in the methods below.

        Returns:
            NaN where these targets leave it undefined; the report says null, and no budget on it is kept.

        Raises:
            ModelError: an output is no finite number.
        """

    @abstractmethod
    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        """Every other figure of this task, as JSON-ready values; None for one that these targets leave undefined.

        The most telling ones come first: the terminal shows three. A `notes` among them is a list of sentences.
        The report draws `confusion_matrix`, `roc`, `scatter`, `errors` and every list of mappings (docs/schemas).
        """

    def operating_point(
        self, held_out: Callable[[], NDArray[np.float32]], y: NDArray[Any], outputs: NDArray[np.float32]
    ) -> dict[str, Any]:
        """What the device must know beside the model, and where it leads on the test split; nothing unless the task
        says otherwise.

        Args:
            held_out: gives what `readout` keeps of the validation split. It runs the model, so call it only if needed.
            y, outputs: of the test split, as for `score`. They judge the choice and must not shape it.

        Returns:
            More `details`, which stand before the others.
        """
        return {}

    @abstractmethod
    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """Share of examples on which two models decide alike, 0 to 1; `agreement_meaning` says in what sense."""

    @abstractmethod
    def output_error(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """How far the outputs of two models lie apart, 0 for the same; `output_error_meaning` says in what sense."""
