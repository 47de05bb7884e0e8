"""The study of natural variation: objects whose factors are known, after seed 002.

Started as `python -m shardtools.pipelines.studies.natural_variation`; `study.py` says what it makes.
"""
