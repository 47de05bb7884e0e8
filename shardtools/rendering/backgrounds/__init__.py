"""Photographs that objects are rendered before: folders and a default set, prepared; their catalogue."""

__all__: list[str] = []
