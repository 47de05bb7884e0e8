"""C++ sources of the JPEG decoder, and the module `core` that is built from them where there is a compiler.

Nothing but `shardtools.decode.native` imports `core`. An install without a compiler or without libjpeg's headers leaves
it out, and `shardtools.decode` serves with Pillow.
"""

__all__: list[str] = []
