"""Pure functions on arrays: no Flax, no pandas."""

from lstmjax.ops.lstm import lstm as lstm
from lstmjax.ops.step import LSTMWeights as LSTMWeights
from lstmjax.ops.step import lstm_step as lstm_step
