"""Prune 80 %, cluster 16, QAT: zeros and clusters are there in the int8 bytes, of a plain network and of MobileNetV2.

What it costs in accuracy, benchmarks/preservation.py shows.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from pipeline import verify
from pipeline.draft import Draft
from pipeline.stages.cluster import Cluster
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from tests.stages.tiny import apply, checks, int8, kernels, tiny_data

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.mark.parametrize(
    ("name", "options", "sparsity"),
    # Depthwise kernels stay dense, so the others give a little more than four fifths.
    [("lenet5", {"variant": "caffe"}, 0.8), ("mobilenet_v2", {"alpha": 0.35}, 0.86)],
)
def test_zeros_and_clusters_outlast_qat(name: str, options: dict[str, Any], sparsity: float) -> None:
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    data = tiny_data(256)
    draft = Draft.of(importlib.import_module(f"models.{name}").build(data.input_shape, 4, **options))
    short = {"epochs": 1, "batch_size": 128}
    pruned = apply(Prune.model_validate({**short, "sparsity": sparsity}), draft, data)
    clustered = apply(Cluster.model_validate({**short, "clusters": 16}), pruned, data)
    aware = apply(Qat.model_validate({**short, "learning_rate": 0.01}), clustered, data)
    model = int8(aware, data)
    found = checks(aware, model)
    assert {"int8_only", "kept_sparsity", "kept_clusters", "dead_layers"} <= found.keys()
    assert {check.status for check in found.values()} == {"pass"}, found
    assert verify.sparsity(verify.layer_table(model)) >= 0.8
    assert found["kept_clusters"].limit == 16
    # QAT did train, and the clusters are not just those from before.
    assert not np.array_equal(kernels(aware)["quant_logits"], kernels(clustered)["logits"])
