"""Everything that ``lstmjax train`` leaves on disk: the run, its directory, its outputs; and the signals."""
