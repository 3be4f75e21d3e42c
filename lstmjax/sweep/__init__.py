"""Sweeps: a whole population of settings trained together, pruned as they go, ranked by one number."""

from lstmjax.sweep.block import Interrupted as Interrupted
from lstmjax.sweep.block import Report as Report
from lstmjax.sweep.block import train_block as train_block
from lstmjax.sweep.halving import Halving as Halving
from lstmjax.sweep.samplers import draw as draw
from lstmjax.sweep.space import Distribution as Distribution
from lstmjax.sweep.space import Space as Space
from lstmjax.sweep.trial import Outcome as Outcome
from lstmjax.sweep.trial import Trial as Trial
