"""Makes a wheel for Linux on x86-64 where the native CPU kernel was built into the package, else one for every machine.

``python -m lstmjax.ops.build --package`` builds it; see docs/cpu_kernel.md.
"""

import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Adds the library, which git ignores, and names the platform; the library serves every Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """As `BuildHookInterface.initialize`; an editable install needs neither."""
        libraries = list(Path(self.root, "lstmjax", "ops", "native").glob("*.so"))
        if version == "editable" or not libraries:
            return
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"] += [str(path.relative_to(self.root)) for path in libraries]
