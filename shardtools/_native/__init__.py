"""C++ sources of the JPEG decoder and of the corruptions, and the modules that are built from them by a compiler.

Nothing but `shardtools.decode.native` imports `core`, nothing but `shardtools.corruption.native` imports `corrupt`.
An install without a compiler or without libjpeg's headers leaves them out: then `shardtools.decode` serves with Pillow,
and `shardtools.corruption` says what to install.
"""

__all__: list[str] = []
