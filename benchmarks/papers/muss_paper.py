"""Figures of the tables of MUSS, both versions."""

#: Tables 2 and 6 on Home, 4,737 items, k = 500, λ = 0.9: precision in % of the first and the second version;
#: objective, quality, diversity and seconds of the first. By method and λ_c.
HOME: dict[tuple[str, float | None], tuple[float, float, float, float, float, float]] = {
    ("random", None): (51.6, 50.3, 0.778, 0.793, 0.642, 0.0),
    ("k-dpp", None): (43.2, 56.3, 0.739, 0.749, 0.643, 7.9),
    ("clustering", None): (61.4, 60.6, 0.923, 0.953, 0.646, 0.69),
    ("MMR", None): (69.0, 72.0, 0.963, 0.998, 0.648, 13.5),
    ("dgds", None): (69.0, 73.5, 0.963, 0.998, 0.648, 13.7),
    ("muss (rand.A)", None): (59.7, 73.9, 0.847, 0.937, 0.638, 6.7),
    ("muss (rand.B)", None): (62.1, 74.1, 0.882, 0.983, 0.646, 6.6),
    ("muss", 0.1): (64.2, 74.5, 0.960, 0.997, 0.643, 7.12),
    ("muss", 0.5): (69.0, 74.0, 0.962, 0.998, 0.634, 8.91),
    ("muss", 0.9): (69.2, 74.8, 0.962, 0.998, 0.636, 8.18),
}

#: Table 3, accuracy in % on StackExchange, first and second version.
READING: dict[tuple[str, float | None], tuple[float, float]] = {
    ("random", None): (40, 41.6),
    ("k-dpp", None): (44, 40.4),
    ("clustering", None): (60, 54.8),
    ("MMR", None): (68, 64),
    ("dgds", None): (68, 62.8),
    ("muss (rand.A)", None): (60, 55.2),
    ("muss (rand.B)", None): (58, 55.6),
    ("muss", 0.1): (72, 65.2),
    ("muss", 0.5): (74, 65.6),
    ("muss", 0.9): (70, 64.8),
}

#: Table 4, precision in % on Home of the first and the second version, by (l, m).
SIZES: dict[tuple[int, int], tuple[float, float]] = {
    (100, 50): (66, 74.6),
    (200, 50): (65, 74.8),
    (200, 100): (66, 74.8),
    (500, 50): (61, 73.3),
    (500, 100): (65, 74.0),
    (500, 200): (67, 74.2),
}

#: Tables 7 and 8 on Home (precision in %), by λ_c: clusters of [x] and of [x, q] (first version); the sum and
#: the least of the distances, and with and without the k best by quality (second version).
CHOICES: dict[str, dict[float, float]] = {
    "clusters of [x]": {0.1: 64.2, 0.5: 69.0, 0.9: 69.2},
    "clusters of [x, q]": {0.1: 67.2, 0.5: 70.2, 0.9: 69.8},
    "sum of distances": {0.1: 74.5, 0.5: 74.0, 0.9: 74.8},
    "least distance": {0.1: 73.2, 0.5: 74.0, 0.9: 74.0},
    "with the k best": {0.1: 74.5, 0.5: 74.0, 0.9: 74.8},
    "without them": {0.1: 72.7, 0.5: 73.7, 0.9: 74.8},
}
