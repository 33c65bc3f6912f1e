"""Sampled responses in, chosen and rejected ones out: files, data sets and their formats."""

from setwise.preference.rows.rows import PreferenceRows

__all__ = ["PreferenceRows"]
