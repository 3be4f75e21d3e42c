"""``python -m lstmjax.cli`` is the command ``lstmjax``."""

from lstmjax.cli.app import main

main()
