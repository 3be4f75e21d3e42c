"""Every option of a run: frozen dataclasses, validated on construction, with a JSON round trip.

The names are the contract with users: ``--optimizer.learning-rate 3e-3`` on a command line is
``"optimizer.learning_rate"`` in a sweep's space and `RunConfig.optimizer.learning_rate` in Python. `choices` names
the choices an option has; the dict from name to function lives where the functions do, and a test holds the two equal.
"""

from lstmjax.config.backtest import BacktestConfig as BacktestConfig
from lstmjax.config.choices import LOSS_OF_HEAD as LOSS_OF_HEAD
from lstmjax.config.choices import RESULT_COLUMNS as RESULT_COLUMNS
from lstmjax.config.choices import SOURCES as SOURCES
from lstmjax.config.choices import TIME_FORMATS as TIME_FORMATS
from lstmjax.config.choices import BaselineName as BaselineName
from lstmjax.config.choices import CalendarName as CalendarName
from lstmjax.config.choices import CalibrationName as CalibrationName
from lstmjax.config.choices import CalibrationScope as CalibrationScope
from lstmjax.config.choices import DatasetName as DatasetName
from lstmjax.config.choices import FeedName as FeedName
from lstmjax.config.choices import GapsPolicy as GapsPolicy
from lstmjax.config.choices import HeadName as HeadName
from lstmjax.config.choices import InstanceNormName as InstanceNormName
from lstmjax.config.choices import InstanceScaleName as InstanceScaleName
from lstmjax.config.choices import KnownFutureName as KnownFutureName
from lstmjax.config.choices import LayoutName as LayoutName
from lstmjax.config.choices import LossName as LossName
from lstmjax.config.choices import ModelName as ModelName
from lstmjax.config.choices import OptimizerName as OptimizerName
from lstmjax.config.choices import PoolName as PoolName
from lstmjax.config.choices import ScalerName as ScalerName
from lstmjax.config.choices import ScalerScope as ScalerScope
from lstmjax.config.choices import ScheduleName as ScheduleName
from lstmjax.config.choices import TableFormat as TableFormat
from lstmjax.config.choices import TransformName as TransformName
from lstmjax.config.data import DataConfig as DataConfig
from lstmjax.config.distributed import DistributedConfig as DistributedConfig
from lstmjax.config.fields import TYPE_NAMES as TYPE_NAMES
from lstmjax.config.fields import Resume as Resume
from lstmjax.config.fields import Rules as Rules
from lstmjax.config.fields import check_fields as check_fields
from lstmjax.config.fields import check_intervals as check_intervals
from lstmjax.config.fields import check_name as check_name
from lstmjax.config.fields import check_names as check_names
from lstmjax.config.fields import check_quantiles as check_quantiles
from lstmjax.config.fields import inert_fields as inert_fields
from lstmjax.config.fields import option as option
from lstmjax.config.model import ModelConfig as ModelConfig
from lstmjax.config.outputs import OutputsConfig as OutputsConfig
from lstmjax.config.run import FORMAT_VERSION as FORMAT_VERSION
from lstmjax.config.run import RunConfig as RunConfig
from lstmjax.config.run import controllers as controllers
from lstmjax.config.run import option_fields as option_fields
from lstmjax.config.run import option_names as option_names
from lstmjax.config.run import option_type as option_type
from lstmjax.config.run import rules as rules
from lstmjax.config.training import OptimizerConfig as OptimizerConfig
from lstmjax.config.training import TrainConfig as TrainConfig
