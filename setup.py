"""The one part of the build that pyproject.toml cannot say: the native decoder, which may be left out.

`optional`: without a C++ compiler or libjpeg-turbo's headers (Debian: g++, libjpeg62-turbo-dev) the package installs
all the same, and decodes with Pillow.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("shardtools/_native")
SOURCES = ["module.cpp", "picture.cpp", "decode.cpp", "resize.cpp", "color.cpp", "pool.cpp"]
HEADERS = ["picture.h", "decode.h", "resize.h", "color.h", "pool.h"]

core = Extension(
    "shardtools._native.core",
    sources=[str(NATIVE / name) for name in SOURCES],
    depends=[str(NATIVE / name) for name in HEADERS],
    libraries=["jpeg"],
    # No contraction: the colour operations round where Pillow rounds. Nobody reads floating-point flags, and loops that
    # need not keep them are vectorised. GCC 12 warns of its own AVX-512 headers.
    extra_compile_args=[
        "-std=c++17",
        "-O3",
        "-ffp-contract=off",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        "-Wno-maybe-uninitialized",
        "-Wno-uninitialized",
    ],
    extra_link_args=["-pthread"],
    py_limited_api=True,
    optional=True,
)

setup(ext_modules=[core], options={"bdist_wheel": {"py_limited_api": "cp311"}})
