"""Plain float64 references from the papers and ARCHITECTURE.md alone: the oracle setwise is tested against.

Nothing here may import setwise. Every function scans everything, and ties go to the lowest index.
"""
