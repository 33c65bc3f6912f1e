/* Inner products of a row with a vector of doubles, for one instruction set and every type of number.
 *
 * Included once for each instruction set, with TARGET its attribute and NAME its suffix. Every sum is over LANES
 * partial sums, whatever the width of a register, and no product is contracted with a sum: all instruction sets
 * give the same bits.
 */

/* The partial sums' total, always in this order. */
static TARGET double NAME(total)(const double *sums)
{
    double half[LANES / 2];
    for (int lane = 0; lane < LANES / 2; lane++)
        half[lane] = sums[lane] + sums[lane + LANES / 2];
    return (half[0] + half[2]) + (half[1] + half[3]);
}

/* Of numbers that a double holds; integers: see `grid_rows`. */
#define DOT(name, type)                                                                            \
    static TARGET double NAME(dot_##name)(const void *row, const double *other, ptrdiff_t d)       \
    {                                                                                              \
        const type *x = row;                                                                       \
        double sums[LANES] = {0};                                                                  \
        ptrdiff_t whole = d - d % LANES;                                                           \
        for (ptrdiff_t i = 0; i < whole; i += LANES)                                               \
            for (int lane = 0; lane < LANES; lane++)                                               \
                sums[lane] += (double)x[i + lane] * other[i + lane];                               \
        for (int lane = 0; lane < d % LANES; lane++)                                               \
            sums[lane] += (double)x[whole + lane] * other[whole + lane];                           \
        return NAME(total)(sums);                                                                  \
    }
DOT(double, double)
DOT(float, float)
DOT(grid, int32_t)
#undef DOT

static TARGET double NAME(dot_half)(const void *row, const double *other, ptrdiff_t d)
{
    const uint16_t *x = row;
    double sums[LANES] = {0};
    float wide[LANES];
    ptrdiff_t whole = d - d % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        widen(x + i, wide, LANES);
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += (double)wide[lane] * other[i + lane];
    }
    widen(x + whole, wide, (int)(d % LANES));
    for (int lane = 0; lane < d % LANES; lane++)
        sums[lane] += (double)wide[lane] * other[whole + lane];
    return NAME(total)(sums);
}

/* A row's entries by its length, rounded to multiples of 1 / GRID, in those. */
static TARGET void NAME(grid_float)(const void *row, int32_t *grid, double length, ptrdiff_t d)
{
    const float *x = row;
    for (ptrdiff_t i = 0; i < d; i++)
        grid[i] = (int32_t)(((double)x[i] / length * GRID + WHOLE) - WHOLE);
}

static TARGET void NAME(grid_half)(const void *row, int32_t *grid, double length, ptrdiff_t d)
{
    const uint16_t *x = row;
    float wide[LANES];
    for (ptrdiff_t i = 0; i < d; i += LANES) {
        const int count = (int)(d - i < LANES ? d - i : LANES);
        widen(x + i, wide, count);
        for (int lane = 0; lane < count; lane++)
            grid[i + lane] = (int32_t)(((double)wide[lane] / length * GRID + WHOLE) - WHOLE);
    }
}

/* The square of a row's length; where it holds NaN or Inf, or a square overflows, not a finite number. */
static TARGET double NAME(square_double)(const void *row, ptrdiff_t d)
{
    return NAME(dot_double)(row, row, d);
}

static TARGET double NAME(square_float)(const void *row, ptrdiff_t d)
{
    const float *x = row;
    double sums[LANES] = {0};
    ptrdiff_t whole = d - d % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += (double)x[i + lane] * (double)x[i + lane];
    for (int lane = 0; lane < d % LANES; lane++)
        sums[lane] += (double)x[whole + lane] * (double)x[whole + lane];
    return NAME(total)(sums);
}

static TARGET double NAME(square_half)(const void *row, ptrdiff_t d)
{
    const uint16_t *x = row;
    double sums[LANES] = {0};
    float wide[LANES];
    uint32_t odd = 0;
    ptrdiff_t whole = d - d % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        widen(x + i, wide, LANES);
        for (int lane = 0; lane < LANES; lane++) {
            odd |= (x[i + lane] & 0x7C00u) == 0x7C00u;
            sums[lane] += (double)wide[lane] * (double)wide[lane];
        }
    }
    widen(x + whole, wide, (int)(d % LANES));
    for (int lane = 0; lane < d % LANES; lane++) {
        odd |= (x[whole + lane] & 0x7C00u) == 0x7C00u;
        sums[lane] += (double)wide[lane] * (double)wide[lane];
    }
    return odd ? INFINITY : NAME(total)(sums);
}

static const struct kernels NAME(kernels) = {
    {NAME(dot_half), NAME(dot_float), NAME(dot_double), NAME(dot_grid)},
    {NAME(square_half), NAME(square_float), NAME(square_double)},
    {NAME(grid_half), NAME(grid_float)},
};
