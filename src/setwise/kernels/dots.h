/* What is done with the entries of a row, for one instruction set and every type of number.
 *
 * Included once for each instruction set, with TARGET its attribute, NAME its suffix and PART the doubles of its
 * registers; HALVES says that it converts half precision. Every sum is over LANES partial sums, whatever the width of a register, and no product
 * is contracted with a sum: all instruction sets give the same bits.
 */

/* The partial sums' total, always in this order. */
static TARGET double NAME(total)(const double *sums)
{
    double half[LANES / 2];
    for (int lane = 0; lane < LANES / 2; lane++)
        half[lane] = sums[lane] + sums[lane + LANES / 2];
    return (half[0] + half[2]) + (half[1] + half[3]);
}

#ifdef __GNUC__
/* A register of numbers, from wherever they lie. */
typedef double NAME(doubles) __attribute__((vector_size(PART * sizeof(double)), aligned(8), may_alias));
typedef uint64_t NAME(longs) __attribute__((vector_size(PART * sizeof(double)), aligned(8), may_alias));
typedef int32_t NAME(grids) __attribute__((vector_size(PART * sizeof(int32_t)), aligned(4), may_alias));
typedef float NAME(floats) __attribute__((vector_size(PART * sizeof(float)), aligned(4), may_alias));
#define WIDE_double(x) (*(const NAME(doubles) *)(const void *)(x))
#ifdef WIDER /* in one instruction each, which not every compiler makes of a conversion */
#define WIDE_float(x) ((NAME(doubles))WIDER(cvtps_pd)(FLOATS(x)))
#define WIDE_grid(x) ((NAME(doubles))WIDER(cvtepi32_pd)(GRIDS(x)))
#else
#define WIDE_float(x) __builtin_convertvector(*(const NAME(floats) *)(const void *)(x), NAME(doubles))
#define WIDE_grid(x) __builtin_convertvector(*(const NAME(grids) *)(const void *)(x), NAME(doubles))
#endif
#define WRITE_WIDE(name)                                                                           \
    if (count == LANES) {                                                                          \
        for (int part = 0; part < LANES / PART; part++)                                            \
            *(NAME(doubles) *)(void *)(wide + part * PART) = WIDE_##name(x + part * PART);         \
        return;                                                                                    \
    }
#else
#define WRITE_WIDE(name)
#endif

/* Some entries as doubles. */
#define LOAD(name, type)                                                                           \
    static inline TARGET void NAME(load_##name)(const type *x, double *wide, int count)            \
    {                                                                                              \
        WRITE_WIDE(name)                                                                           \
        for (int lane = 0; lane < count; lane++)                                                   \
            wide[lane] = (double)x[lane];                                                          \
    }
LOAD(double, double)
LOAD(float, float)
LOAD(grid, int32_t)
#undef LOAD
#undef WRITE_WIDE

static inline TARGET void NAME(load_half)(const uint16_t *x, double *wide, int count)
{
    float single[LANES];
#ifdef HALVES
    if (count == LANES)
        _mm256_storeu_ps(single, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x)));
    else
#endif
        widen(x, single, count);
    for (int lane = 0; lane < count; lane++)
        wide[lane] = (double)single[lane];
}

/* What becomes of each entry of a row, times a number. */
#define SCALED(made, name, type, into, entry)                                                      \
    static TARGET void NAME(made)(const void *row, into *out, double scale, ptrdiff_t d)           \
    {                                                                                              \
        const type *x = row;                                                                       \
        double wide[LANES];                                                                        \
        ptrdiff_t whole = d - d % LANES;                                                           \
        for (ptrdiff_t i = 0; i < whole; i += LANES) {                                             \
            NAME(load_##name)(x + i, wide, LANES);                                                 \
            for (int lane = 0; lane < LANES; lane++)                                               \
                out[i + lane] = entry(wide[lane] * scale);                                         \
        }                                                                                          \
        NAME(load_##name)(x + whole, wide, (int)(d % LANES));                                      \
        for (int lane = 0; lane < d % LANES; lane++)                                               \
            out[whole + lane] = entry(wide[lane] * scale);                                         \
    }
#define AS_IT_IS(entry) (entry)
#define ON_THE_GRID(entry) ((int32_t)(((entry) * GRID + WHOLE) - WHOLE))

/* The inner product with a vector of doubles; the row times a number. */
#define PRODUCTS(name, type)                                                                       \
    static TARGET double NAME(dot_##name)(const void *row, const double *other, ptrdiff_t d)       \
    {                                                                                              \
        const type *x = row;                                                                       \
        double sums[LANES] = {0}, wide[LANES];                                                     \
        ptrdiff_t whole = d - d % LANES;                                                           \
        for (ptrdiff_t i = 0; i < whole; i += LANES) {                                             \
            NAME(load_##name)(x + i, wide, LANES);                                                 \
            for (int lane = 0; lane < LANES; lane++)                                               \
                sums[lane] += wide[lane] * other[i + lane];                                        \
        }                                                                                          \
        NAME(load_##name)(x + whole, wide, (int)(d % LANES));                                      \
        for (int lane = 0; lane < d % LANES; lane++)                                               \
            sums[lane] += wide[lane] * other[whole + lane];                                        \
        return NAME(total)(sums);                                                                  \
    }                                                                                              \
    SCALED(unit_##name, name, type, double, AS_IT_IS)
PRODUCTS(half, uint16_t)
PRODUCTS(float, float)
PRODUCTS(double, double)
PRODUCTS(grid, int32_t)
#undef PRODUCTS

/* The inner products with four vectors, one after the other in memory: each as `dot` computes it. */
#ifdef __GNUC__
#define FOUR(name, type)                                                                           \
    static TARGET void NAME(four_##name)(const void *row, const double *others, ptrdiff_t d,       \
                                         double *products)                                         \
    {                                                                                              \
        const type *x = row;                                                                       \
        NAME(doubles) parts[4][LANES / PART] = {{{0}}};                                            \
        double sums[4][LANES];                                                                     \
        ptrdiff_t whole = d - d % LANES;                                                           \
        for (ptrdiff_t i = 0; i < whole; i += LANES)                                               \
            for (int part = 0; part < LANES / PART; part++) {                                      \
                const NAME(doubles) wide = WIDE_##name(x + i + part * PART);                       \
                for (int other = 0; other < 4; other++)                                            \
                    parts[other][part] += wide * WIDE_double(others + other * d + i + part * PART);\
            }                                                                                      \
        memcpy(sums, parts, sizeof sums);                                                          \
        for (int other = 0; other < 4; other++) {                                                  \
            for (int lane = 0; lane < d % LANES; lane++)                                           \
                sums[other][lane] += (double)x[whole + lane] * others[other * d + whole + lane];   \
            products[other] = NAME(total)(sums[other]);                                            \
        }                                                                                          \
    }
#else
#define FOUR(name, type)                                                                           \
    static void NAME(four_##name)(const void *row, const double *others, ptrdiff_t d,              \
                                  double *products)                                                \
    {                                                                                              \
        for (int other = 0; other < 4; other++)                                                    \
            products[other] = NAME(dot_##name)(row, others + other * d, d);                        \
    }
#endif
FOUR(float, float)
FOUR(double, double)
FOUR(grid, int32_t)
#undef FOUR

/* The square of a row's length; where it holds NaN or Inf, or a square overflows, not a finite number. */
#define SQUARE(name, type)                                                                         \
    static TARGET double NAME(square_##name)(const void *row, ptrdiff_t d)                         \
    {                                                                                              \
        const type *x = row;                                                                       \
        double sums[LANES] = {0}, wide[LANES];                                                     \
        ptrdiff_t whole = d - d % LANES;                                                           \
        for (ptrdiff_t i = 0; i < whole; i += LANES) {                                             \
            NAME(load_##name)(x + i, wide, LANES);                                                 \
            for (int lane = 0; lane < LANES; lane++)                                               \
                sums[lane] += wide[lane] * wide[lane];                                             \
        }                                                                                          \
        NAME(load_##name)(x + whole, wide, (int)(d % LANES));                                      \
        for (int lane = 0; lane < d % LANES; lane++)                                               \
            sums[lane] += wide[lane] * wide[lane];                                                 \
        return NAME(total)(sums);                                                                  \
    }
SQUARE(half, uint16_t)
SQUARE(float, float)
SQUARE(double, double)
#undef SQUARE

/* `dot` or `square` of many rows, so many bytes apart: four of them beside each other, as one sum waits for itself. */
#ifdef __GNUC__
#define BESIDE(name, type, by)                                                                     \
    for (; count >= 4; count -= 4, first += 4 * step, out += 4) {                                  \
        const type *x[4];                                                                          \
        NAME(doubles) parts[4][LANES / PART] = {{{0}}};                                            \
        double sums[4][LANES];                                                                     \
        const ptrdiff_t whole = d - d % LANES;                                                     \
        for (int row = 0; row < 4; row++)                                                          \
            x[row] = (const type *)(const void *)(first + row * step);                             \
        for (ptrdiff_t i = 0; i < whole; i += LANES)                                               \
            for (int part = 0; part < LANES / PART; part++)                                        \
                for (int row = 0; row < 4; row++) {                                                \
                    const NAME(doubles) wide = WIDE_##name(x[row] + i + part * PART);              \
                    parts[row][part] += wide * by(wide, WIDE_double(other + i + part * PART));     \
                }                                                                                  \
        memcpy(sums, parts, sizeof sums);                                                          \
        for (int row = 0; row < 4; row++) {                                                        \
            for (ptrdiff_t i = whole; i < d; i++)                                                  \
                sums[row][i - whole] += (double)x[row][i] * by((double)x[row][i], other[i]);       \
            out[row] = NAME(total)(sums[row]);                                                     \
        }                                                                                          \
    }
#else
#define BESIDE(name, type, by)
#endif
#define THE_OTHER(wide, other) (other)
#define ITSELF(wide, other) (wide)
#define DOTS(name, four)                                                                           \
    static TARGET void NAME(dots_##name)(const char *first, ptrdiff_t step, ptrdiff_t count,       \
                                         const double *other, ptrdiff_t d, double *out)            \
    {                                                                                              \
        four                                                                                       \
        for (; count > 0; count--, first += step)                                                  \
            *out++ = NAME(dot_##name)(first, other, d);                                            \
    }
#define SQUARES(name, four)                                                                        \
    static TARGET void NAME(squares_##name)(const char *first, ptrdiff_t step, ptrdiff_t count,    \
                                            ptrdiff_t d, double *out)                              \
    {                                                                                              \
        four                                                                                       \
        for (; count > 0; count--, first += step)                                                  \
            *out++ = NAME(square_##name)(first, d);                                                \
    }
DOTS(double, BESIDE(double, double, THE_OTHER))
SQUARES(half, )
SQUARES(float, BESIDE(float, float, ITSELF))
SQUARES(double, BESIDE(double, double, ITSELF))
#undef BESIDE
#undef DOTS
#undef SQUARES
#undef THE_OTHER
#undef ITSELF

/* dot and square: in one loop where entries are converted, which takes longest. */
#define TOGETHER(name, type)                                                                       \
    static TARGET double NAME(both_##name)(const void *row, const double *other, ptrdiff_t d,      \
                                           double *square)                                         \
    {                                                                                              \
        const type *x = row;                                                                       \
        double sums[LANES] = {0}, squares[LANES] = {0}, wide[LANES];                               \
        ptrdiff_t whole = d - d % LANES;                                                           \
        for (ptrdiff_t i = 0; i < whole; i += LANES) {                                             \
            NAME(load_##name)(x + i, wide, LANES);                                                 \
            for (int lane = 0; lane < LANES; lane++) {                                             \
                sums[lane] += wide[lane] * other[i + lane];                                        \
                squares[lane] += wide[lane] * wide[lane];                                          \
            }                                                                                      \
        }                                                                                          \
        NAME(load_##name)(x + whole, wide, (int)(d % LANES));                                      \
        for (int lane = 0; lane < d % LANES; lane++) {                                             \
            sums[lane] += wide[lane] * other[whole + lane];                                        \
            squares[lane] += wide[lane] * wide[lane];                                              \
        }                                                                                          \
        *square = NAME(total)(squares);                                                            \
        return NAME(total)(sums);                                                                  \
    }
#define APART(name)                                                                                \
    static TARGET double NAME(both_##name)(const void *row, const double *other, ptrdiff_t d,      \
                                           double *square)                                         \
    {                                                                                              \
        *square = NAME(square_##name)(row, d);                                                     \
        return NAME(dot_##name)(row, other, d);                                                    \
    }
TOGETHER(float, float)
APART(double)
#ifdef HALVES
TOGETHER(half, uint16_t)
#else
APART(half)
#endif
#undef TOGETHER
#undef APART

/* A row's entries times a number, rounded to multiples of 1 / GRID, in those. */
SCALED(grid_half, half, uint16_t, int32_t, ON_THE_GRID)
SCALED(grid_float, float, float, int32_t, ON_THE_GRID)
SCALED(grid_double, double, double, int32_t, ON_THE_GRID)
#undef SCALED
#undef AS_IT_IS
#undef ON_THE_GRID

/* The square of a gridded row's distance to a vector. */
static TARGET double NAME(apart_grid)(const double *mean, const int32_t *row, ptrdiff_t d)
{
    double sums[LANES] = {0};
    ptrdiff_t whole = d - d % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const double away = (double)row[i + lane] - mean[i + lane];
            sums[lane] += away * away;
        }
    for (int lane = 0; lane < d % LANES; lane++) {
        const double away = (double)row[whole + lane] - mean[whole + lane];
        sums[lane] += away * away;
    }
    return NAME(total)(sums);
}

/* Add a gridded row, times a number. */
static TARGET void NAME(add_grid)(double *sums, const int32_t *row, double weight, ptrdiff_t d)
{
    for (ptrdiff_t i = 0; i < d; i++)
        sums[i] += weight * (double)row[i];
}

/* The inner products of four gridded rows, wherever they lie, with a vector: each as `dot` computes it. */
static TARGET void NAME(each_grid)(const int32_t *const rows[4], const double *other, ptrdiff_t d, double *products)
{
#ifdef __GNUC__
    NAME(doubles) parts[4][LANES / PART] = {{{0}}};
    double sums[4][LANES];
    const ptrdiff_t whole = d - d % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES)
        for (int part = 0; part < LANES / PART; part++)
            for (int row = 0; row < 4; row++)
                parts[row][part]
                    += WIDE_grid(rows[row] + i + part * PART) * WIDE_double(other + i + part * PART);
    memcpy(sums, parts, sizeof sums);
    for (int row = 0; row < 4; row++) {
        for (ptrdiff_t i = whole; i < d; i++)
            sums[row][i - whole] += (double)rows[row][i] * other[i];
        products[row] = NAME(total)(sums[row]);
    }
#else
    for (int row = 0; row < 4; row++)
        products[row] = NAME(dot_grid)(rows[row], other, d);
#endif
}

/* Add what `grid` makes of four rows to sums of integers. */
static TARGET void NAME(add_on_grid)(const float *const rows[4], const double *scales, int64_t *sums, ptrdiff_t d)
{
    ptrdiff_t i = 0;
#ifdef __GNUC__ /* a double above WHOLE is an integer in its last bits */
    const double whole = WHOLE;
    uint64_t above;
    memcpy(&above, &whole, sizeof above);
    const float *const x[4] = {rows[0], rows[1], rows[2], rows[3]};
    const double by[4] = {scales[0] * GRID, scales[1] * GRID, scales[2] * GRID, scales[3] * GRID};
    for (; i + PART <= d; i += PART) {
        NAME(longs) sum = *(const NAME(longs) *)(const void *)(sums + i) - 4 * above;
        for (int row = 0; row < 4; row++)
            sum += (NAME(longs))(WIDE_float(x[row] + i) * by[row] + WHOLE);
        *(NAME(longs) *)(void *)(sums + i) = sum;
    }
#endif
    for (; i < d; i++)
        for (int row = 0; row < 4; row++)
            sums[i] += (int64_t)(((double)rows[row][i] * (scales[row] * GRID) + WHOLE) - WHOLE);
}

#include "singles.h"

/* A row of half precision in single precision. */
static TARGET void NAME(single)(const uint16_t *row, float *out, ptrdiff_t d)
{
    const ptrdiff_t whole = d - d % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES)
#ifdef HALVES
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + i))));
#else
        widen(row + i, out + i, LANES);
#endif
    widen(row + whole, out + whole, (int)(d % LANES));
}

/* Write a sum with one more row, where there are sums, and that or the row itself in single precision. */
static TARGET void NAME(follow)(const double *before, const double *member, double *total, float *single, ptrdiff_t d)
{
    if (total != NULL) {
        for (ptrdiff_t i = 0; i < d; i++)
            total[i] = before[i] + member[i];
        member = total;
    }
    if (single != NULL)
        for (ptrdiff_t i = 0; i < d; i++)
            single[i] = (float)member[i];
}

/* Write what has been and by how much it may have risen since; return the largest. */
static TARGET double NAME(bounds)(const double *upper, const int64_t *seen, const double *rise, double *bounds,
                                  ptrdiff_t n)
{
    double best[LANES];
    const ptrdiff_t whole = n - n % LANES;
    for (int lane = 0; lane < LANES; lane++)
        best[lane] = -INFINITY;
    for (ptrdiff_t at = 0; at < n; at++)
        bounds[at] = upper[at] + rise[seen[at]];
    for (ptrdiff_t at = 0; at < whole; at += LANES)
        for (int lane = 0; lane < LANES; lane++)
            best[lane] = bounds[at + lane] > best[lane] ? bounds[at + lane] : best[lane];
    for (ptrdiff_t at = whole; at < n; at++)
        best[0] = bounds[at] > best[0] ? bounds[at] : best[0];
    for (int lane = 1; lane < LANES; lane++)
        best[0] = best[lane] > best[0] ? best[lane] : best[0];
    return best[0];
}

/* The largest of some numbers less a multiple of 1 less cosines, where those are known; write the largest number where
 * they are not. */
static TARGET double NAME(most_left)(const double *numbers, const float *cosines, double multiple, ptrdiff_t n,
                                     double *unknown)
{
    double most[2 * LANES], rest[2 * LANES];
    const ptrdiff_t whole = n - n % (2 * LANES);
    for (int lane = 0; lane < 2 * LANES; lane++)
        most[lane] = rest[lane] = -INFINITY;
    for (ptrdiff_t at = 0; at < whole; at += 2 * LANES)
        for (int lane = 0; lane < 2 * LANES; lane++) {
            const double left = numbers[at + lane] - multiple * (1.0 - cosines[at + lane]);
            const double open = cosines[at + lane] == cosines[at + lane] ? -INFINITY : numbers[at + lane];
            most[lane] = left > most[lane] ? left : most[lane];
            rest[lane] = open > rest[lane] ? open : rest[lane];
        }
    for (ptrdiff_t at = whole; at < n; at++) {
        const double left = numbers[at] - multiple * (1.0 - cosines[at]);
        const double open = cosines[at] == cosines[at] ? -INFINITY : numbers[at];
        most[0] = left > most[0] ? left : most[0];
        rest[0] = open > rest[0] ? open : rest[0];
    }
    for (int lane = 1; lane < 2 * LANES; lane++) {
        most[0] = most[lane] > most[0] ? most[lane] : most[0];
        rest[0] = rest[lane] > rest[0] ? rest[lane] : rest[0];
    }
    *unknown = rest[0];
    return most[0];
}

/* Sum over points what each candidate costs, but no more than the point pays. */
static TARGET void NAME(least_sums)(const double *cost, const double *prices, ptrdiff_t n, ptrdiff_t m, double *sums)
{
    memset(sums, 0, sizeof *sums * (size_t)m);
    for (ptrdiff_t i = 0; i < n; i++, cost += m)
        for (ptrdiff_t j = 0; j < m; j++)
            sums[j] += cost[j] < prices[i] ? cost[j] : prices[i];
}

/* Add what a point pays when a candidate joins, and what it pays more when its own member leaves as well. */
static TARGET void NAME(exchanged)(const double *cost, double least, double second, ptrdiff_t m, double *joins,
                                   double *change)
{
    for (ptrdiff_t j = 0; j < m; j++) {
        const double low = cost[j] < least ? cost[j] : least;
        joins[j] += low;
        change[j] += (cost[j] < second ? cost[j] : second) - low;
    }
}

#undef WIDE_float
#undef WIDE_double
#undef WIDE_grid
static const struct kernels NAME(kernels) = {
    {NAME(dot_half), NAME(dot_float), NAME(dot_double), NAME(dot_grid)},
    {NAME(square_half), NAME(square_float), NAME(square_double)},
    {NAME(squares_half), NAME(squares_float), NAME(squares_double)},
    NAME(dots_double),
    {NAME(both_half), NAME(both_float), NAME(both_double)},
    {NAME(unit_half), NAME(unit_float), NAME(unit_double), NAME(unit_grid)},
    {NAME(grid_half), NAME(grid_float), NAME(grid_double)},
    NAME(four_float),
    NAME(four_double),
    NAME(four_grid),
    NAME(apart_grid),
    NAME(add_grid),
    NAME(each_grid),
    NAME(add_on_grid),
    NAME(rough),
    NAME(rough_four),
    NAME(rough_both),
    NAME(scan_half),
    NAME(single),
    NAME(follow),
    NAME(bounds),
    NAME(most_left),
    NAME(least_sums),
    NAME(exchanged),
};
