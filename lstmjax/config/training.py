"""The options of the sections optimizer and train."""

from dataclasses import dataclass

from lstmjax.config.choices import FeedName, LossName, OptimizerName, ScheduleName
from lstmjax.config.fields import check_fields, option
from lstmjax.errors import ConfigError


@dataclass(frozen=True)
class OptimizerConfig:
    """How a gradient becomes an update, and the schedule of the learning rate."""

    name: OptimizerName = option("adam")
    """Which optimiser; the defaults of its other numbers are Optax's."""
    learning_rate: float = option(2e-3, above=0.0, sweep="traced", format_1=1e-3)
    """Peak learning rate."""
    schedule: ScheduleName = option("cosine", format_1="constant")
    """The learning rate after the warm-up. plateau: needs validation rows; `train.refit_all`, which has none,
    trains again at the peak learning rate throughout."""
    warmup_steps: int = option(0, low=0, sweep="traced")
    """Steps over which the learning rate rises linearly from 0."""
    decay_rate: float = option(
        0.9, above=0.0, high=1.0, only={"schedule": ("exponential", "step", "plateau")}, sweep="traced"
    )
    """exponential: factor every decay_steps; step: factor every epoch; plateau: factor after the patience."""
    decay_steps: int = option(1000, low=1, only={"schedule": ("exponential",)}, sweep="traced")
    """exponential: steps over which the learning rate falls by decay_rate."""
    decay_start_epoch: int = option(0, low=0, only={"schedule": ("step",)}, sweep="traced")
    """step: epochs before the first decay."""
    final_fraction: float = option(0.0, low=0.0, high=1.0, only={"schedule": ("cosine",)}, sweep="traced")
    """cosine: the last learning rate, as a fraction of the peak."""
    plateau_patience: int = option(3, low=1, only={"schedule": ("plateau",)}, sweep="traced")
    """plateau: validation checks without improvement before the learning rate falls."""
    momentum: float = option(0.0, low=0.0, high=1.0, only={"name": ("sgd", "rmsprop")}, sweep="traced")
    """sgd, rmsprop: decay of the accumulated gradient."""
    weight_decay: float = option(0.0, low=0.0, sweep="traced")
    """adamw, lion: decoupled decay; the others: added to the gradient (L2)."""
    clip_norm: float | None = option(1.0, above=0.0, sweep="traced")
    """Largest global norm of the gradient; None for no clipping."""
    clip_value: float | None = option(None, above=0.0, sweep="traced")
    """Largest absolute value of any element of the gradient; None for no clipping."""

    def __post_init__(self) -> None:
        check_fields(self, "optimizer")


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, on what, and when to stop."""

    max_steps: int = option(
        2000,
        low=1,
        format_1=1000,
        resume="more",
        sweep="no: trials are compared after the same number of steps, and halving gives the best ones more",
    )
    """Updates at most."""
    batch_size: int = option(64, low=1)
    """Windows per update."""
    val_check_steps: int = option(100, low=1, sweep="no: trials are compared at the same checks")
    """Updates between validation checks."""
    early_stop_patience_steps: int = option(5, low=-1, sweep="traced")
    """Validation checks without improvement after which training stops (in checks, as in neuralforecast), at least 1;
    -1: never."""
    val_windows: int | None = option(
        None,
        low=0,
        resume="inferred",
        sweep="no: trials are compared on the same windows",
        format_1=0,
    )
    """Windows of a validation check, evenly spaced among all; 0: all. Default: three tenths of the windows that are
    trained on between two checks, at least 256, so that a check takes under a tenth of the time between them. The test
    always takes every window."""
    max_seconds: float | None = option(
        None, above=0.0, resume="free", sweep="no: trials are compared after the same number of steps"
    )
    """Seconds after which training ends in good order: the weights of the best check are evaluated and forecast. A
    resumed run has as many again."""
    loss: LossName = option("auto", resume="inferred", format_1="mse")
    """What training minimises and validation watches, in scaled units. auto: what fits the head: mae for point; pinball
    (the mean over the levels) for quantile; nll, the negative log-likelihood, for distributions. mse and huber are for
    point too."""
    huber_delta: float = option(1.0, above=0.0, only={"loss": ("huber",)}, sweep="traced")
    """huber: where the loss turns from quadratic to linear."""
    random_lookback: bool = option(False)
    """Train on lookbacks of random lengths, for a stream that keeps its state, or against overfitting where windows are
    few: of each window a random number of the last rows, 1 to data.input_size, is shown, and the earlier ones are
    masked. Validation and forecasts see all."""
    seed: int = option(0, low=0, high=2**64 - 1, sweep="traced")
    """Seed of the initial weights, the order of the windows and the dropout masks."""
    batch_shards: int | None = option(
        None, low=1, resume="inferred", sweep="no: in a sweep devices are for members, and batches stay whole"
    )
    """Devices over which a batch is split. Resolved once and stored: equal values give equal bytes."""
    chunk_steps: int | None = option(None, low=1, resume="free", sweep="no: it changes no trial")
    """Updates in one call of the compiled program; about two seconds' worth if not given. Never changes a byte."""
    feed: FeedName = option("auto", resume="free", sweep="no: it changes no trial")
    """Where the windows of a batch are cut out. device: of the scaled panel, which is on the device. host: of the panel
    where it is, on disk for data.store, for some steps at a time while the device works on those before. auto: device,
    unless a store does not fit it comfortably. It changes no byte on CPU."""
    save_every_seconds: float = option(20.0, low=0.0, resume="free", sweep="no: it changes no trial")
    """Seconds between saves of the state, at validation checks; 0: at every check. It is also saved at the end, at a
    signal and before a refit. Never changes a byte: a run that is killed is resumed from its last save."""
    refit_all: bool = option(False, resume="free", sweep="no: it changes no trial")
    """After the evaluation, train again on all rows, for the steps that were best, before forecasting the future."""

    def __post_init__(self) -> None:
        check_fields(self, "train")
        if self.early_stop_patience_steps == 0:
            raise ConfigError("train.early_stop_patience_steps is 0: expected at least 1, or -1 for no early stopping")
