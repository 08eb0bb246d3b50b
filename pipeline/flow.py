"""The story of one run, from a recipe to a report."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_targets.tflite_graph import parse_graph
from pipeline import advice, cascade, forge, measure, verify
from pipeline._uncut import uncut_bytes, uncut_rows
from pipeline.cache import library_versions
from pipeline.report import ModelFacts, Report, write_report
from pipeline.workplace import publish, workplace

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.artifact import Artifact
    from pipeline.cache import Cache
    from pipeline.check import Advice
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.recipe import Recipe


def run(
    recipe: Recipe, *, out: Path, cache: Cache, progress: Progress, command: str = "", trust_code: bool = False
) -> Report:
    """Take a recipe all the way: data, model, stages, int8, proof, measurement, report.

    Args:
        recipe: what to do.
        out: where the results go: models, report.json, report.html, training.jsonl.
        cache: results of earlier runs; used where nothing that shaped them has changed.
        progress: told how far it is.
        command: the command line, for the report.
        trust_code: whether code that a model file brings along may run.

    Returns:
        The report, which also lies in `out`. `report.ok` is False where a check failed.

    Raises:
        EdgesmithError, TargetError: what stopped the run. Finished stages stay in the cache.
    """
    started = time.perf_counter()
    with workplace(out) as work:
        progress.open_log(out)
        progress.log("run", recipe=recipe.name, command=command)
        data = recipe.data.load(recipe.task, seed=recipe.seed, progress=progress)

        drafts, steps = forge.drafts(recipe, data, cache, progress, trust_code=trust_code)
        baseline = forge.baseline(drafts, cache, work, progress)
        artifact = forge.artifact(drafts[-1], recipe, data, cache, work, progress, baseline)

        reference = forge.reference(drafts[-1], cache, progress)
        proof = verify.prove(artifact, baseline, drafts[-1], data, recipe.budgets, progress, reference)
        rows = measure.measure_run(artifact, baseline, recipe.targets, recipe.benchmark, data, progress)
        measurements = [found for row in rows for found in row.measurements.values()]
        latency_checks = verify.latency_checks(recipe.budgets, measurements)
        advised = _advice(recipe, data, proof, artifact, reference)

        report = Report(
            recipe=recipe.name,
            recipe_text=recipe.resolved_yaml(),
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            versions=library_versions(),
            data=data.describe(),
            baseline=_facts(baseline, proof.baseline, data.task.metric),
            artifact=_facts(artifact, proof.artifact, data.task.metric),
            steps=steps,
            checks=(*proof.checks, *measure.parity_checks(rows), *latency_checks),
            layers=proof.layers,
            measurements=tuple(measurement.to_json() for measurement in measurements),
            seconds=time.perf_counter() - started,
            command=command,
            advice=advised,
            mixed=artifact.mixed,
            cascade=cascade.told(artifact, proof.stages, measurements),
        )
        write_report(report, work)
        publish(work, out)
    return report


def _advice(
    recipe: Recipe, data: Dataset, proof: verify.Proof, artifact: Artifact, reference: bytes | None
) -> tuple[Advice, ...]:
    """What to do about the layers that int8 harms most; nothing where there is no float model to compare with."""
    if reference is None:
        return ()
    model = parse_graph(uncut_bytes(artifact))
    layers = uncut_rows(proof.layers, artifact, model)
    known = advice.Known.of(recipe, artifact.mixed, verify.usual_inputs(data.validation), proof.checks)
    return advice.advise(layers, model, parse_graph(reference), known)


def _facts(artifact: Artifact, score: verify.Score, metric: str) -> ModelFacts:
    return ModelFacts(
        path=artifact.path.name,
        sha256=artifact.sha256,
        size_bytes=artifact.all_bytes,
        ota_bytes=artifact.all_ota_bytes,
        ota_codec=artifact.ota_codec,
        metric=metric,
        value=score.value,
        details=score.details,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        precision=artifact.precision,
    )
