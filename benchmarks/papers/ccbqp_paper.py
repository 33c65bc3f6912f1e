"""Figures of the CCBQP paper's tables, by method and θ (None: top-k)."""

#: Table 1, QAMPARI, k = 25: precision, recall and F1 of the reader.
TABLE_1: dict[tuple[str, float | None], tuple[float, float, float]] = {
    ("top-k", None): (0.2196, 0.2134, 0.1824),
    ("MMR", 0.7): (0.1913, 0.1899, 0.1579),
    ("MMR", 0.9): (0.2220, 0.2224, 0.1860),
    ("DPP", 0.7): (0.1672, 0.1131, 0.1101),
    ("DPP", 0.9): (0.1942, 0.2190, 0.1726),
    ("Frank-Wolfe", 0.7): (0.2246, 0.1970, 0.1768),
    ("Frank-Wolfe", 0.9): (0.2266, 0.2215, 0.1906),
}

#: Table 2, ASQA, k = 25: recall of the reader.
TABLE_2: dict[tuple[str, float | None], float] = {
    ("top-k", None): 0.4819,
    ("MMR", 0.7): 0.4507,
    ("MMR", 0.9): 0.4947,
    ("DPP", 0.7): 0.3826,
    ("DPP", 0.9): 0.4707,
    ("Frank-Wolfe", 0.7): 0.4661,
    ("Frank-Wolfe", 0.9): 0.4757,
}
