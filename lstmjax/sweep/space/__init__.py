"""The space of a sweep: the searched options, their values, and how settings are drawn from them."""

from lstmjax.sweep.space.distribution import Distribution as Distribution
from lstmjax.sweep.space.space import Space as Space
