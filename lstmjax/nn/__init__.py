"""Flax NNX modules, each usable alone in somebody else's model."""

from lstmjax.nn.cell import LSTMCell as LSTMCell
from lstmjax.nn.recurrent import LSTM as LSTM
from lstmjax.nn.regularization import Dropout as Dropout
from lstmjax.nn.regularization import Hyperparameter as Hyperparameter
from lstmjax.nn.stacked import StackedLSTM as StackedLSTM
