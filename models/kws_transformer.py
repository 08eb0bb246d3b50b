"""Keyword Transformer: a tiny transformer encoder over the frames of a spectrogram."""

from __future__ import annotations

from typing import Any

from models._shapes import require_positive, require_share, require_window


def build(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    dim: int = 64,
    heads: int = 1,
    layers: int = 4,
    mlp_dim: int = 256,
    dropout: float = 0.1,
) -> Any:
    """A transformer encoder for keyword spotting, ending in logits.

    After Berg et al., "Keyword Transformer: A Self-Attention Model for Keyword Spotting" (arXiv 2104.00769): each frame
    is a token, a class token goes before them, post-norm encoder layers, the class token's row gives the logits. The
    paper's smallest, KWT-1, is `layers` = 12; the default has 4 of the same, which learn without its long warm-up.

    208,844 parameters at (98, 40) and 12 classes; 607,180 as KWT-1. That is 2 * dim = 128 fewer than the 607,308
    published: the frames' bias and the class token only ever occur added to the position embedding, and are left inside
    it. It computes the same functions, and is made of layers that TensorFlow Lite has in int8.

    Args:
        input_shape: (time, frequency) or (time, frequency, 1); the published one is (98, 40).
        num_classes: size of the output.
        dim: width of a token.
        heads: attention heads; they divide `dim`. KWT-2 has 2, KWT-3 has 3, with `dim` 128 and 192.
        layers: encoder layers.
        mlp_dim: width of the hidden layer behind each attention; four times `dim` in the paper.
        dropout: share of the features dropped behind each part of a layer while training.

    Returns:
        A tf_keras model from (batch, *input_shape) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no windows, or an option is out of its range.
    """
    import tf_keras as keras

    steps, features = require_window(input_shape)
    require_positive(dim=dim, heads=heads, layers=layers, mlp_dim=mlp_dim)
    require_share(dropout=dropout)
    if dim % heads:
        raise ValueError(f"its option dim ({dim}) must be a multiple of heads ({heads})")
    inputs = keras.layers.Input(input_shape, name="input")
    x = keras.layers.Reshape((steps, features), name="frames")(inputs) if len(input_shape) > 2 else inputs
    x = _tokens(x, dim)
    for number in range(1, layers + 1):
        x = _residual(x, _attention(x, heads, name=f"layer{number}"), dropout, name=f"layer{number}_attention")
        x = _residual(x, _mlp(x, mlp_dim, name=f"layer{number}"), dropout, name=f"layer{number}_mlp")
    x = keras.layers.Cropping1D((0, steps), name="class_token")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name="kws_transformer")


def _tokens(x: Any, dim: int) -> Any:
    """From frames to tokens with their positions, (time + 1, dim).

    The bias differs from row to row: it is the position embedding. Row 0 is a frame of zeros, so that its bias alone
    is the class token.
    """
    import tf_keras as keras

    x = keras.layers.ZeroPadding1D((1, 0), name="class_token_place")(x)
    embedding = keras.layers.EinsumDense(
        "btf,fd->btd",
        output_shape=(x.shape[1], dim),
        bias_axes="td",
        bias_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="embedding",
    )
    return embedding(x)


def _attention(x: Any, heads: int, *, name: str) -> Any:
    import tf_keras as keras

    layers = keras.layers
    dim = x.shape[-1]
    # The 1/sqrt(dim of a head) of scaled attention lies in the query's weights from the start: an operator less.
    scaled = keras.initializers.VarianceScaling(heads / dim, mode="fan_avg", distribution="uniform")
    query = layers.Dense(dim, use_bias=False, kernel_initializer=scaled, name=f"{name}_query")(x)
    key = layers.Dense(dim, use_bias=False, name=f"{name}_key")(x)
    value = layers.Dense(dim, use_bias=False, name=f"{name}_value")(x)
    parts = [
        _split_heads(part, heads, name=f"{name}_{which}")
        for part, which in ((query, "query"), (value, "value"), (key, "key"))
    ]
    x = _join_heads(layers.Attention(name=f"{name}_attend")(parts), heads, name=name)
    return layers.Dense(dim, name=f"{name}_out")(x)


def _split_heads(x: Any, heads: int, *, name: str) -> Any:
    """(time, dim) to (heads, time, dim / heads)."""
    import tf_keras as keras

    if heads == 1:
        return x
    x = keras.layers.Reshape((x.shape[1], heads, x.shape[2] // heads), name=f"{name}_split")(x)
    return keras.layers.Permute((2, 1, 3), name=f"{name}_by_head")(x)


def _join_heads(x: Any, heads: int, *, name: str) -> Any:
    """(heads, time, dim / heads) to (time, dim)."""
    import tf_keras as keras

    if heads == 1:
        return x
    x = keras.layers.Permute((2, 1, 3), name=f"{name}_by_time")(x)
    return keras.layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{name}_join")(x)


def _mlp(x: Any, mlp_dim: int, *, name: str) -> Any:
    import tf_keras as keras

    hidden = keras.layers.Dense(mlp_dim, activation="gelu", name=f"{name}_mlp1")(x)
    return keras.layers.Dense(x.shape[-1], name=f"{name}_mlp2")(hidden)


def _residual(x: Any, change: Any, dropout: float, *, name: str) -> Any:
    import tf_keras as keras

    if dropout:
        change = keras.layers.Dropout(dropout, name=f"{name}_dropout")(change)
    x = keras.layers.Add(name=f"{name}_add")([x, change])
    return keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
