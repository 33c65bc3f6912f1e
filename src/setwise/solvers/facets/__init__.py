"""facets: sets that cover several facets, by greedy selection and moves, and a bound by cutting planes."""
