"""Weighted k-medoids: solvers for coverage, one problem at a time or thousands together."""
