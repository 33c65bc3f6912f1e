"""Builds the compiled kernels into a wheel, or beside their source for an editable install.

Without a compiler the wheel is one of Python alone, and NumPy does the kernels' work.
"""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

#: Where their source is, below the root.
SOURCES = "src/setwise/kernels"

#: Sums are rounded as they are written, so that every processor gets the same bits.
ARGUMENTS = {"unix": ["-O3", "-g0", "-std=c11", "-ffp-contract=off"], "msvc": ["/O2", "/fp:precise"]}


class Compiled(build_ext):
    """Compiles for the stable ABI, with the arguments of the compiler at hand."""

    def build_extension(self, ext: Extension) -> None:
        """Compile a module."""
        ext.extra_compile_args = ARGUMENTS.get(self.compiler.compiler_type, [])
        super().build_extension(ext)


class Kernels(BuildHookInterface):
    """The hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say which files and which tag the wheel has."""
        if self.target_name != "wheel":
            return
        where = Path(self.root, SOURCES)
        extension = Extension(
            "_native",
            [str(where / "native.c")],
            depends=[str(header) for header in sorted(where.glob("*.h"))],
            py_limited_api=True,
        )
        build = Compiled(Distribution({"name": "setwise", "ext_modules": [extension]}))
        self.folder = tempfile.TemporaryDirectory()
        build.build_lib = str(where) if version == "editable" else self.folder.name
        build.build_temp = self.folder.name
        try:
            build.ensure_finalized()
            build.run()
            built = Path(build.get_ext_fullpath("_native"))
        except Exception as error:  # whatever a compiler that is missing or fails raises
            self.app.display_warning(f"no compiled kernels, NumPy does their work: {error}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(built)] = f"setwise/kernels/{built.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled, now that the wheel holds it."""
        if self.target_name == "wheel":
            self.folder.cleanup()
