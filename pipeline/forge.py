"""From a recipe to drafts, and from drafts to `.tflite` files; every result is looked up in the cache first."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from edge_targets._cascade import NEVER
from edge_targets._cascade_file import FIRST, REST, RUN_CASCADE, run_cascade_script
from pipeline import cascade, convert, intake, ota, sensitivity
from pipeline.artifact import Artifact, Cascade, MixedPrecision, sha256_of
from pipeline.cache import code_version, key_of
from pipeline.choice import ModelSpec
from pipeline.draft import Draft
from pipeline.errors import ModelError, StorageError
from pipeline.report import StepRecord
from pipeline.storage import atomic_write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from pipeline.cache import Cache
    from pipeline.dataset import Dataset
    from pipeline.draft import Step
    from pipeline.progress import Progress
    from pipeline.recipe import Recipe
    from pipeline.settings import ConvertSettings, MixedPrecisionSettings, ModelFile
    from pipeline.stage import Stage

Files = dict[str, bytes]

_NOUNS = (
    "pipeline._tf",
    "pipeline.augment",
    "pipeline.cost",
    "pipeline.draft",
    "pipeline.dataset",
    "pipeline.quantize_configs",
    "pipeline.stage",
    "pipeline.task",
)
"""Modules whose code shapes every stage's result."""

_CONVERSION = ("pipeline.convert", "pipeline._convert._converter")
"""Modules that make bytes of a draft; with the second count the files beside it."""

_SEARCH = ("pipeline.sensitivity", "pipeline._fewest", "pipeline._keepable", "pipeline.verify", "pipeline.interpreter")
"""Modules that decide what is kept out of int8."""

_PACKING = ("pipeline.ota", "edge_targets.tflite_graph")
"""Modules that make what travels of bytes; the unpacker is among the files beside the second."""


def drafts(
    recipe: Recipe, data: Dataset, cache: Cache, progress: Progress, *, trust_code: bool = False
) -> tuple[list[Draft], tuple[StepRecord, ...]]:
    """Build the model, or take in the user's own, and take it through the stages.

    Args:
        recipe: names the model and the stages.
        data: what the model is for.
        cache: results of earlier runs.
        progress: told how far it is.
        trust_code: whether code that a model file brings along may run.

    Returns:
        The draft as built and after each stage; and a record of the intake, if there was one, and of each stage.
    """
    convert.refuse_missing(recipe.convert)
    first, cached = _begun(recipe, data, cache, progress, trust_code)
    made, records = [first], [StepRecord(step, cached) for step in first.steps]
    for index, stage in enumerate(recipe.stages):
        seed = _seed_of(recipe, index, stage)
        taught = _taught(stage, made[-1], seed, data, cache, progress, trust_code)
        draft, cached = _applied(stage, taught, data, seed, cache, progress)
        made.append(draft)
        records.append(StepRecord(draft.steps[-1], cached))
    return made, tuple(records)


def baseline(made: list[Draft], cache: Cache, work: Path, progress: Progress) -> Artifact:
    """The float32 `.tflite` that everything is compared with: of the last draft that no compression has touched."""
    draft = [draft for draft in made if not draft.traits][-1]
    key = key_of(kind="float32", draft=draft.sha256, code=code_version(*_CONVERSION, *_NOUNS))
    files, _ = _remembered(cache, key, lambda: {"model.tflite": convert.to_float32(draft)}, progress)
    return replace(_laid_down(files["model.tflite"], work / "baseline.tflite", cache, progress), precision="float32")


def reference(draft: Draft, cache: Cache, progress: Progress) -> bytes | None:
    """The float32 `.tflite` that a draft's int8 one approximates, layer by layer; None where there is none."""
    key = key_of(kind="reference", draft=draft.sha256, code=code_version(*_CONVERSION, *_NOUNS))
    try:
        files, _ = _remembered(cache, key, lambda: {"model.tflite": convert.to_float_reference(draft)}, progress)
    except ModelError as error:
        # It is only for the layer table: nothing that the run promises needs it.
        progress.note(f"no SQNR of the layers: {error.what}")
        return None
    return files["model.tflite"]


def artifact(
    draft: Draft,
    recipe: Recipe,
    data: Dataset,
    cache: Cache,
    work: Path,
    progress: Progress,
    before: Artifact | None = None,
) -> Artifact:
    """The `.tflite` of a draft in the recipe's precision, with the compressed form that travels beside it.

    Args:
        draft: after the last stage.
        recipe: its `convert` says how.
        data: calibrates, and decides in mixed precision.
        cache: results of earlier runs.
        work: where the files go.
        progress: told how far it is.
        before: the float32 `.tflite` that mixed precision compares with; None: the draft in float.
    """
    settings = recipe.convert
    mixed, most_lost = settings.mixed_precision, recipe.budgets.max_accuracy_drop
    if mixed is not None and mixed.max_accuracy_drop is not None:
        most_lost = mixed.max_accuracy_drop
    key = key_of(
        kind="int8",
        draft=draft.sha256,
        settings=settings.model_dump(mode="json"),
        data=data.fingerprint,
        seed=recipe.seed,
        code=code_version(*_CONVERSION, "pipeline.intake", *_NOUNS),
        **({"lost": most_lost, "before": before and before.sha256, "search": code_version(*_SEARCH)} if mixed else {}),
    )

    def make() -> Files:
        progress.note(f"convert: {settings.precision}")
        folded, sentences = intake.fold_front(draft)
        for sentence in sentences:
            progress.note(f"convert: {sentence}")
        examples = data.calibration(settings.calibration_samples, recipe.seed)
        for sentence in convert.warnings_of(examples):
            progress.note(sentence)
        if mixed is None or most_lost is None:
            model = convert.to_tflite(folded, examples, settings)
            return {"model.tflite": convert.slim(model) if settings.slim else model}
        ranges = convert.with_ranges(folded, examples, settings)
        against = before.path.read_bytes() if before is not None else None
        found = sensitivity.mixed_precision(ranges, _way(ranges, settings, mixed), against, data, most_lost, progress)
        return {"model.tflite": found.model, "mixed.json": json.dumps(asdict(found.record)).encode()}

    files, _ = _remembered(cache, key, make, progress)
    step = cascade.exit_step(draft)
    if step is not None:
        return _two_stages(files["model.tflite"], step, settings.precision, data, cache, work, progress)
    laid = _laid_down(files["model.tflite"], work / "model.tflite", cache, progress, travels=True)
    made = replace(laid, precision=settings.precision)
    record = files.get("mixed.json")
    return made if record is None else replace(made, mixed=MixedPrecision.of(json.loads(record)))


def _way(ranges: bytes, settings: ConvertSettings, mixed: MixedPrecisionSettings) -> sensitivity.Way:
    """How layers are kept out of int8, as a recipe has it."""

    quantizer = convert.Quantizer(ranges, per_channel=settings.granularity == "per_channel")

    def quantize(kept: Collection[str], *, halves: bool = True) -> bytes:
        model = quantizer.model(kept, mixed.keep_in, halves=halves)
        return convert.slim(model) if settings.slim else model

    if mixed.keep_in == "float32":
        return sensitivity.Way(quantize)
    cheaper = functools.partial(quantize, halves=False)
    return sensitivity.Way(quantize, mixed.keep_in, cheaper, quantizer.without_int16())


def _two_stages(
    model: bytes, step: Step, precision: str, data: Dataset, cache: Cache, work: Path, progress: Progress
) -> Artifact:
    """Both files of a model with an early exit, with the script that runs them, and the threshold between them."""
    parts = zip(convert.cut(model), (FIRST, REST), strict=True)
    first, rest = (_laid_down(part, work / name, cache, progress, travels=True) for part, name in parts)
    atomic_write_bytes(work / RUN_CASCADE, run_cascade_script())
    both = replace(first, cascade=Cascade(rest, NEVER, 0.0, model))
    key = key_of(
        kind="threshold",
        stages=[first.sha256, rest.sha256],
        settings=[step.settings[name] for name in ("max_drop", "threshold")],
        data=data.fingerprint,
        code=code_version("pipeline.cascade", "pipeline.interpreter", "edge_targets._on_device_cascade"),
    )
    files, _ = _remembered(
        cache, key, lambda: {"cascade.json": json.dumps(cascade.choose(both, data, step, progress)).encode()}, progress
    )
    threshold, exits = json.loads(files["cascade.json"])
    return replace(first, precision=precision, cascade=Cascade(rest, threshold, exits, model))


def _begun(recipe: Recipe, data: Dataset, cache: Cache, progress: Progress, trust_code: bool) -> tuple[Draft, bool]:
    """The draft that the stages start from, and whether it came from the cache."""
    file = recipe.model.file
    if file is None:
        return _built(recipe, data, cache, progress)
    return _taken_in(file, recipe.seed, data, cache, progress, trust_code)


def _taken_in(
    file: ModelFile, seed: int, data: Dataset, cache: Cache, progress: Progress, trust_code: bool
) -> tuple[Draft, bool]:
    source = intake.ModelSource(file.path, file.options, file.custom_objects, trust_code)
    if file.custom_objects is not None:
        intake.register_custom_objects(file.custom_objects)
    fits = intake.Fit(data.input_shape, data.num_outputs, data.task.output_shape(data.num_outputs, data.input_shape))
    key = key_of(
        kind="intake",
        model=source.fingerprint(),
        fits=asdict(fits),
        seed=seed,
        code=code_version("pipeline.intake", "pipeline._intake._child", *_NOUNS),
    )

    def make() -> Files:
        return intake.take_in(source, fits, seed=seed, progress=progress).to_files()

    files, cached = _remembered(cache, key, make, progress)
    return Draft.from_files(files), cached


def _built(recipe: Recipe, data: Dataset, cache: Cache, progress: Progress) -> tuple[Draft, bool]:
    spec = recipe.model
    key = key_of(
        kind="build",
        model=spec.name,
        options=spec.options,
        input_shape=data.input_shape,
        num_outputs=data.num_outputs,
        seed=recipe.seed,
        code=code_version(f"models.{spec.name}", *_NOUNS),
    )
    files, cached = _remembered(cache, key, lambda: _build(recipe, data).to_files(), progress)
    return Draft.from_files(files), cached


def _build(recipe: Recipe, data: Dataset) -> Draft:
    from pipeline._tf import fix_seed, keras

    fix_seed(recipe.seed)
    keras.backend.clear_session()
    return Draft.of(recipe.model.build(data))


def _taught(
    stage: Stage, draft: Draft, seed: int, data: Dataset, cache: Cache, progress: Progress, trust_code: bool
) -> Draft:
    """The draft with the teacher that a stage names by its file."""
    file = stage.teacher_file()
    if file is None:
        return draft
    teacher, _ = _taken_in(file, seed, data, cache, progress, trust_code)
    return replace(draft, teacher=teacher.bare())


def _applied(
    stage: Stage, draft: Draft, data: Dataset, seed: int, cache: Cache, progress: Progress
) -> tuple[Draft, bool]:
    name = stage.stage_name()
    key = key_of(
        kind="stage",
        stage=name,
        settings=stage.model_dump(mode="json"),
        code=code_version(f"pipeline.stages.{name}", type(data.task).__module__, *_models_of(stage), *_NOUNS),
        draft=draft.sha256,
        data=data.fingerprint,
        seed=seed,
    )

    def make() -> Files:
        return stage.apply(draft, data, seed=seed, progress=progress).to_files()

    files, cached = _remembered(cache, key, make, progress)
    if cached:
        progress.note(f"{name}: unchanged, taken from the cache")
    after = Draft.from_files(files)
    # An entry may stem from a run whose earlier steps took other seconds: only its own step is its word.
    return replace(after, steps=(*draft.steps, after.steps[-1])), cached


def _models_of(stage: Stage) -> list[str]:
    """The modules of the zoo that a stage's settings name."""
    chosen = (getattr(stage, name) for name in type(stage).model_fields)
    return [f"models.{each.name}" for each in chosen if isinstance(each, ModelSpec) and each.file is None]


def _remembered(cache: Cache, key: str, make: Callable[[], Files], progress: Progress) -> tuple[Files, bool]:
    """The files under a key, made where they are not there yet; and whether they were."""
    found = cache.fetch(key)
    if found is not None:
        return found, True
    files = make()
    try:
        cache.store(key, files)
    except StorageError as error:
        # The result itself is fine; only the next run will have to make it again.
        progress.note(f"not cached: {error.what}")
    return files, False


def _laid_down(model: bytes, path: Path, cache: Cache, progress: Progress, *, travels: bool = False) -> Artifact:
    parcel = _packed(model, cache, progress)
    atomic_write_bytes(path, model)
    if travels:
        atomic_write_bytes(path.with_name(f"{path.name}.{parcel.codec}"), parcel.data)
        atomic_write_bytes(path.with_name("unpack.py"), ota.unpacker())
    return Artifact.of(path, model, len(parcel.data), parcel.codec)


def _packed(model: bytes, cache: Cache, progress: Progress) -> ota.Parcel:
    """What travels of a model. To find the smallest takes longer than most of what a run does with a cached one."""
    key = key_of(kind="parcel", model=sha256_of(model), code=code_version(*_PACKING))

    def make() -> Files:
        parcel = ota.pack(model)
        return {parcel.codec: parcel.data}

    files, _ = _remembered(cache, key, make, progress)
    [(codec, data)] = files.items()
    return ota.Parcel(codec, data)


def _seed_of(recipe: Recipe, index: int, stage: Stage) -> int:
    """A seed of its own for every stage, so that a run that continues from the cache goes on exactly alike."""
    digest = hashlib.sha256(f"{recipe.seed} {index} {stage.stage_name()}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31
