"""Geometry of networks, derived from the index maps of their operators: sizes, receptive fields, cost, advice."""

from __future__ import annotations

from derive.geometry.advice import advice
from derive.geometry.network import Field, Geometry, Row, geometry
from derive.geometry.table import table

__all__ = ["Field", "Geometry", "Row", "advice", "geometry", "table"]
