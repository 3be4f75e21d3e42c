"""Everything that is a trained forecaster: fit, predict, ensemble, export. The class is `Forecaster`."""

from lstmjax.forecaster.forecaster import Forecaster as Forecaster
