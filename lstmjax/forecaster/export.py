"""A trained forecaster in a file that others can use without lstmjax: the function with its weights, or the weights.

``model.stablehlo`` holds the forecast function: weights, scaler and transform are inside. It runs on CPU, CUDA and TPU
for any number of windows, and needs jax and flatbuffers only:

    from pathlib import Path
    import jax.export
    exported = jax.export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
    forecasts = exported.call({"y": y, "series": series})     # (windows, h, targets) float32, in the table's units

With intervals or quantiles in the config's ``outputs`` the forecasts have one more axis: the forecast, and then the
bounds, named by ``forecasts`` in the file beside it.

Its argument is a dict of float32 NumPy arrays in the table's units, NaN where something is missing:

    y       (windows, input_size, targets)      the last observed rows; earlier ones that a short series lacks are NaN
    series  (windows,) int32                    the series' number; -1: one that was not trained on, which is scaled by
                                                the statistics of its own window
    hist    (windows, input_size, covariates)   covariates known up to the cut-off       } where there are any
    futr    (windows, input_size + h, ...)      those known ahead, of both parts         }
    stat    (windows, covariates)               those that do not change                 }

With calendar covariates, ``futr`` ends with a sine and a cosine for each of them. Beside the file lies
``model.stablehlo.json``, which names all of it: the columns in their order, the numbers of the series, the frequency.
"""

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lstmjax.data.calendar import time_feature_names
from lstmjax.data.categories import encoded_names
from lstmjax.data.scalers import SCALERS, center_and_scale
from lstmjax.data.scaling import Scaling
from lstmjax.data.transform import TRANSFORMS
from lstmjax.data.unscaling import in_units
from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.evaluation.calibration import Bounds
from lstmjax.forecaster.fitted import Fitted, versions
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.intervals import calibration_offsets, require_intervals
from lstmjax.forecaster.network import head_of, network_for
from lstmjax.forecaster.predict import wanted
from lstmjax.storage.files import replace_file
from lstmjax.training import functional
from lstmjax.window import WindowBatch, WindowSpec

PLATFORMS = ("cpu", "cuda", "tpu")
"""Where an exported function runs."""

Statistics = tuple[Array, Array]


def export(forecaster: Forecaster, path: Path | str) -> list[Path]:
    """Writes a trained forecaster for others to use.

    Args:
        forecaster: a trained one.
        path: the file; its suffix says what it is: ``.stablehlo`` (the function) or ``.safetensors`` (the weights).

    Returns:
        The files written.

    Raises:
        ConfigError: another suffix, or the package that the format needs is not installed.
        CheckpointError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ConfigError(f"--out is {path}: expected a file name that ends with {' or '.join(FORMATS)}")
    contents = FORMATS[path.suffix](forecaster)
    return [_write(path.with_name(path.name + suffix), data) for suffix, data in contents.items()]


def forecast_function(forecaster: Forecaster) -> Callable[[dict[str, Array]], Float[Array, "B H C *K"]]:
    """The forecast as a pure JAX function of arrays in the table's units; see this module for what it takes.

    Raises:
        ConfigError: intervals are asked of a point forecast that is not calibrated.
    """
    fitted, trained = forecaster.fitted, forecaster.fitted.forecasting
    spec, scaling = fitted.spec, trained.scaling
    structure, _ = functional(network_for(forecaster.network, fitted.config, spec))
    transform = TRANSFORMS[scaling.transform]
    weights = jax.tree.map(jnp.asarray, trained.weights)
    centers, scales = jnp.float32(scaling.y_center), jnp.float32(scaling.y_scale)  # (series, C)
    numbers = jnp.asarray(scaling.series, jnp.int32)
    asked, calibration = wanted(fitted), fitted.config.outputs.calibration
    head = head_of(forecaster.network, fitted.config, spec)
    require_intervals(head, fitted.config.outputs)
    offsets = None
    if asked and calibration != "none":  # one row per series that was trained on, and the last one for others
        own = calibration_offsets(fitted, head, asked.probabilities, trained, pooled=True)
        offsets = jnp.asarray(own)
    place_of = {level: 1 + place for place, level in enumerate(asked.probabilities)}
    order = jnp.array([0, *(place_of[level] for level in asked.columns("").values())])

    def forecast(given: dict[str, Array]) -> Float[Array, "B H C *K"]:
        y, series = given["y"], given["series"]
        known = ~jnp.isnan(y)
        values = transform.forward(jnp.where(known, y, 1.0))
        place, unseen = jnp.maximum(series, 0), series < 0
        number = jnp.where(unseen, -1, numbers[place])
        row = place if scaling.per_series else jnp.zeros_like(series)
        center, scale = centers[row], scales[row]  # (B, C)
        if scaling.per_series:
            own = _window_statistics(values, known, scaling)
            center, scale = jnp.where(unseen[:, None], own[0], center), jnp.where(unseen[:, None], own[1], scale)
        scaled = jnp.where(known, (values - center[:, None]) / scale[:, None], 0.0)
        window = _window(given | {"series": number}, scaled, known, scaling, spec)
        forecast = structure.forecast(weights, window)
        center, scale = center[:, None], scale[:, None]
        if not asked:
            return in_units(forecast.point(), center, scale, scaling.transform, scaling.clip_min)
        offset = None if offsets is None else offsets[jnp.where(unseen, -1, place)]
        values = Bounds(asked.probabilities, calibration)(forecast, offset)[..., order]
        return in_units(values, center[..., None], scale[..., None], scaling.transform, scaling.clip_min)

    return forecast


def inputs(fitted: Fitted) -> dict[str, tuple[int, ...]]:
    """The arrays that the function takes, with their shapes without the axis of windows."""
    spec = fitted.spec
    shapes = {
        "y": (spec.input_size, spec.targets),
        "hist": (spec.input_size, spec.hist_exog),
        "futr": (spec.input_size + spec.h, spec.futr_exog),
        "stat": (spec.stat_exog,),
    }
    return {name: shape for name, shape in shapes.items() if shape[-1]} | {"series": ()}


def _stablehlo(forecaster: Forecaster) -> dict[str, bytes]:
    _require("flatbuffers")
    from jax import export as jax_export

    (windows,) = jax_export.symbolic_shape("windows")
    given = {
        name: jax.ShapeDtypeStruct((windows, *shape), jnp.int32 if name == "series" else jnp.float32)
        for name, shape in inputs(forecaster.fitted).items()
    }
    exported = jax_export.export(jax.jit(forecast_function(forecaster)), platforms=PLATFORMS)(given)
    described = json.dumps(_description(forecaster.fitted), indent=2, ensure_ascii=False) + "\n"
    return {"": bytes(exported.serialize()), ".json": described.encode()}


def _safetensors(forecaster: Forecaster) -> dict[str, bytes]:
    save: Any = _require("safetensors.numpy").save
    weights = forecaster.fitted.forecasting.weights
    arrays = {name: np.asarray(array) for group in weights for name, array in group.items()}
    told = {name: json.dumps(value, ensure_ascii=False) for name, value in _description(forecaster.fitted).items()}
    told |= {"config": forecaster.fitted.config.to_json()}
    return {"": save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=told)}


FORMATS: dict[str, Callable[[Forecaster], dict[str, bytes]]] = {
    ".stablehlo": _stablehlo,
    ".safetensors": _safetensors,
}
"""What is written for each suffix: the contents of the file, and of others by what their names add to its."""


def _description(fitted: Fitted) -> dict[str, Any]:
    """What a user of the file must know, as JSON."""
    schema, asked, alias = fitted.tail.schema, wanted(fitted), fitted.config.model.alias
    forecasts = [alias, *asked.columns(alias)]
    categories = fitted.forecasting.scaling.categories
    return {
        "inputs": {name: ["windows", *shape] for name, shape in inputs(fitted).items()},
        "output": ["windows", fitted.config.data.h, len(schema.channels), *([len(forecasts)] if asked else [])],
        "forecasts": forecasts,
        "columns": {
            "y": list(schema.channels),
            "hist": encoded_names(schema.hist_exog, categories),
            "futr": [*encoded_names(schema.futr_exog, categories), *time_feature_names(schema)],
            "stat": encoded_names(schema.stat_exog, categories),
        },
        "series": {name: number for number, name in enumerate(fitted.tail.ids.tolist())},
        "freq": schema.freq,
        "schema": dataclasses.asdict(schema),
        "versions": versions(),
    }


def _window(
    given: dict[str, Array],
    scaled: Float[Array, "B L C"],
    known: Bool[Array, "B L C"],
    scaling: Scaling,
    spec: WindowSpec,
) -> WindowBatch:
    """The window as the network wants it, in scaled units."""
    batch = scaled.shape[0]

    def covariates(name: str, rows: tuple[int, ...], center: np.ndarray, scale: np.ndarray) -> tuple[Array, Array]:
        if name not in given:
            return jnp.zeros((batch, *rows, 0)), jnp.zeros((batch, *rows, 0), bool)
        values = given[name]
        own = jnp.asarray(center, jnp.float32), jnp.asarray(scale, jnp.float32)
        there = ~jnp.isnan(values)
        return jnp.where(there, (values - own[0]) / own[1], 0.0), there

    calendar = spec.futr_exog - len(scaling.futr_center)  # sines and cosines, which stay as they are
    futr_center = np.append(scaling.futr_center, np.zeros(calendar))
    futr_scale = np.append(scaling.futr_scale, np.ones(calendar))
    hist, hist_mask = covariates("hist", (spec.input_size,), scaling.hist_center, scaling.hist_scale)
    futr, futr_mask = covariates("futr", (spec.input_size + spec.h,), futr_center, futr_scale)
    stat, _ = covariates("stat", (), scaling.stat_center, scaling.stat_scale)
    return WindowBatch(scaled, known, hist, hist_mask, futr, futr_mask, stat, given["series"])


def _window_statistics(values: Float[Array, "B L C"], known: Bool[Array, "B L C"], scaling: Scaling) -> Statistics:
    """Center and scale of each window's observed values, as `lstmjax.data.scaling_fit` has them of a new series'."""
    there = jnp.where(known, values, jnp.nan)
    center, scale = jax.vmap(lambda window: center_and_scale(window, SCALERS[scaling.scaler]))(there)
    nothing = ~known.any(axis=1)
    others = jnp.asarray(scaling.y_center.mean(axis=0)), jnp.asarray(scaling.y_scale.mean(axis=0))
    return jnp.where(nothing, others[0], center), jnp.where(nothing, others[1], scale)


def _require(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            f"exporting needs the package {module.split('.')[0]}: pip install 'lstmjax[export]'"
        ) from None


def _write(path: Path, contents: bytes) -> Path:
    """Writes a file, whole or not at all."""
    try:
        replace_file(path, contents)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from None
    return path
