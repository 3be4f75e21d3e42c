"""The trials of a block, trained together, pruned and ranked."""
