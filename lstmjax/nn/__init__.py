"""Flax NNX modules, each usable alone in somebody else's model."""

from lstmjax.nn.cell import LSTMCell as LSTMCell
from lstmjax.nn.convert import from_flax as from_flax
from lstmjax.nn.convert import from_keras as from_keras
from lstmjax.nn.convert import from_torch as from_torch
from lstmjax.nn.convert import to_torch as to_torch
from lstmjax.nn.embedding import SeriesEmbedding as SeriesEmbedding
from lstmjax.nn.heads import HEADS as HEADS
from lstmjax.nn.heads import HeadLayer as HeadLayer
from lstmjax.nn.heads import NegativeBinomial as NegativeBinomial
from lstmjax.nn.heads import Normal as Normal
from lstmjax.nn.heads import Quantiles as Quantiles
from lstmjax.nn.heads import StudentT as StudentT
from lstmjax.nn.normalization import ReversibleNorm as ReversibleNorm
from lstmjax.nn.normalization import WindowNorm as WindowNorm
from lstmjax.nn.plain_cell import PlainLSTMCell as PlainLSTMCell
from lstmjax.nn.recurrent import LSTM as LSTM
from lstmjax.nn.regularization import Dropout as Dropout
from lstmjax.nn.regularization import Hyperparameter as Hyperparameter
from lstmjax.nn.stacked import StackedLSTM as StackedLSTM
