"""Training: from windows and a network to trained weights, for one member or a population, in compiled programs."""

from lstmjax.training.callback import Callback as Callback
from lstmjax.training.data import TrainingData as TrainingData
from lstmjax.training.data import evenly_spaced as evenly_spaced
from lstmjax.training.data import val_windows as val_windows
from lstmjax.training.functional import Functional as Functional
from lstmjax.training.functional import Network as Network
from lstmjax.training.functional import Weights as Weights
from lstmjax.training.functional import functional as functional
from lstmjax.training.functional import widest as widest
from lstmjax.training.hyperparameters import Hyperparameters as Hyperparameters
from lstmjax.training.loop import make_train as make_train
from lstmjax.training.loop import train as train
from lstmjax.training.memory import training_bytes as training_bytes
from lstmjax.training.objective import PROBABILISTIC as PROBABILISTIC
from lstmjax.training.objective import SCALED_MAE as SCALED_MAE
from lstmjax.training.objective import Measure as Measure
from lstmjax.training.objective import Objective as Objective
from lstmjax.training.objective import Units as Units
from lstmjax.training.plan import resolve_batch as resolve_batch
from lstmjax.training.predict import predict as predict
from lstmjax.training.progress import ProgressDisplay as ProgressDisplay
from lstmjax.training.report import Check as Check
from lstmjax.training.report import Status as Status
from lstmjax.training.report import TrainResult as TrainResult
from lstmjax.training.state import TrainState as TrainState
from lstmjax.training.time_limit import TimeLimit as TimeLimit
