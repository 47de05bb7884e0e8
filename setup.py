"""The one part of the build that pyproject.toml cannot say: the native decoder and corruptions, which may be left out.

`optional`: without a C++ compiler or libjpeg-turbo's headers (Debian: g++, libjpeg62-turbo-dev) the package installs
all the same, decodes with Pillow, and says what to install when an image is to be corrupted.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("shardtools/_native")
SOURCES = ["module.cpp", "picture.cpp", "decode.cpp", "resize.cpp", "color.cpp", "pool.cpp"]
HEADERS = ["picture.h", "decode.h", "resize.h", "color.h", "pool.h"]

# No contraction: the colour operations round where Pillow rounds, and corruptions are the same on every processor.
# Nobody reads floating-point flags or errno, and loops that need not keep them are vectorised. GCC 12 warns of its own
# AVX-512 headers.
FLAGS = [
    "-std=c++17",
    "-O3",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wno-maybe-uninitialized",
    "-Wno-uninitialized",
]


def extension(name: str, sources: list[Path], headers: list[Path]) -> Extension:
    """A module of `shardtools._native`."""
    return Extension(
        f"shardtools._native.{name}",
        sources=[str(path) for path in sources],
        depends=[str(path) for path in headers],
        libraries=["jpeg"],
        extra_compile_args=FLAGS,
        extra_link_args=["-pthread"],
        py_limited_api=True,
        optional=True,
    )


CORRUPTION = NATIVE / "corruption"
MODULES = [
    extension("core", [NATIVE / name for name in SOURCES], [NATIVE / name for name in HEADERS]),
    extension("corrupt", sorted(CORRUPTION.glob("*.cpp")), sorted(CORRUPTION.glob("*.h"))),
]

setup(ext_modules=MODULES, options={"bdist_wheel": {"py_limited_api": "cp311"}})
