"""Pure functions on arrays: no Flax, no pandas."""

from lstmjax.ops.lstm import LSTMWeights as LSTMWeights
from lstmjax.ops.lstm import lstm as lstm
