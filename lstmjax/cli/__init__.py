"""The command line: one function per command, each a few lines over the package."""

from lstmjax.cli.app import main as main
from lstmjax.cli.messages import one_line_messages as one_line_messages
from lstmjax.cli.options import check_typed as check_typed
