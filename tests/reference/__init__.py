"""Plain float64 references from the papers and MATH.md alone: the oracle that setwise is tested against.

Nothing here may import setwise. Every function scans everything, and ties go to the lowest index.
"""
