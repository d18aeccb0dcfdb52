"""Postgres, Valkey and every process of tdsys under one supervisor; `tdsys up` is its face.

The one rule: nothing here outlives the supervisor, and nothing outside `home` is changed.
"""
