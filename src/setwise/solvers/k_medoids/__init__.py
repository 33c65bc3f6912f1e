"""Weighted k-medoids: solvers for coverage, one problem at a time or thousands together."""

from __future__ import annotations

from setwise.solvers.k_medoids.chosen import solve

__all__ = ["solve"]
