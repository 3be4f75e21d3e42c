"""How good a forecast is: error metrics, the baselines it must beat, and the table that shows both."""
