"""A trained forecaster on live data: `Stream` takes rows as they come, forecasts, and scores what it forecast."""

from lstmjax.forecaster.stream.stream import Stream as Stream
