/* Inner products in single precision, for one instruction set: included by dots.h, whose names it uses. */

/* In single precision, off by less than `rough_error`: the inner product of two rows. */
#ifdef __GNUC__
typedef float NAME(singles) __attribute__((vector_size(2 * PART * sizeof(float)), aligned(4), may_alias));
#define SINGLES (2 * PART)
#define AT(x) (*(const NAME(singles) *)(const void *)(x))
static inline TARGET float NAME(across)(NAME(singles) sum, float rest)
{
    fours parts[SINGLES / 4];
    memcpy(parts, &sum, sizeof sum);
    for (int half = SINGLES / 8; half > 0; half /= 2)
        for (int part = 0; part < half; part++)
            parts[part] += parts[part + half];
    return ((parts[0][0] + parts[0][2]) + (parts[0][1] + parts[0][3])) + rest;
}
static TARGET float NAME(rough)(const float *row, const float *other, ptrdiff_t d)
{
    NAME(singles) sums[4] = {{0}};
    float rest = 0.0F;
    ptrdiff_t i = 0;
    for (; i + 4 * SINGLES <= d; i += 4 * SINGLES)
        for (int part = 0; part < 4; part++)
            sums[part] += AT(row + i + part * SINGLES) * AT(other + i + part * SINGLES);
    for (; i + SINGLES <= d; i += SINGLES)
        sums[0] += AT(row + i) * AT(other + i);
    for (; i < d; i++)
        rest += row[i] * other[i];
    return NAME(across)((sums[0] + sums[1]) + (sums[2] + sums[3]), rest);
}
/* Of four rows beside each other, with as many partial sums each; and the squares of their lengths. */
static inline TARGET void NAME(beside)(const float *const rows[4], const float *other, ptrdiff_t d, float *products,
                                       float *squares)
{
    NAME(singles) sums[4][16 / SINGLES] = {{{0}}}, own[4][16 / SINGLES] = {{{0}}};
    float rest[4] = {0}, own_rest[4] = {0};
    ptrdiff_t i = 0;
    for (; i + 16 <= d; i += 16)
        for (int part = 0; part < 16 / SINGLES; part++)
            for (int row = 0; row < 4; row++) {
                const NAME(singles) x = AT(rows[row] + i + part * SINGLES);
                sums[row][part] += x * AT(other + i + part * SINGLES);
                if (squares != NULL)
                    own[row][part] += x * x;
            }
    for (; i < d; i++)
        for (int row = 0; row < 4; row++) {
            rest[row] += rows[row][i] * other[i];
            own_rest[row] += rows[row][i] * rows[row][i];
        }
    for (int row = 0; row < 4; row++) {
        for (int part = 1; part < 16 / SINGLES; part++) {
            sums[row][0] += sums[row][part];
            own[row][0] += own[row][part];
        }
        products[row] = NAME(across)(sums[row][0], rest[row]);
        if (squares != NULL)
            squares[row] = NAME(across)(own[row][0], own_rest[row]);
    }
}
#undef SINGLES
#undef AT
#else
static float NAME(rough)(const float *row, const float *other, ptrdiff_t d)
{
    float sums[16] = {0};
    for (ptrdiff_t i = 0; i < d; i++)
        sums[i % 16] += row[i] * other[i];
    for (int lane = 1; lane < 16; lane++)
        sums[0] += sums[lane];
    return sums[0];
}
static void NAME(beside)(const float *const rows[4], const float *other, ptrdiff_t d, float *products, float *squares)
{
    for (int row = 0; row < 4; row++) {
        products[row] = NAME(rough)(rows[row], other, d);
        if (squares != NULL)
            squares[row] = NAME(rough)(rows[row], rows[row], d);
    }
}
#endif
static TARGET void NAME(rough_four)(const float *const rows[4], const float *other, ptrdiff_t d, float *products)
{
    NAME(beside)(rows, other, d, products, NULL);
}
static TARGET void NAME(rough_both)(const float *const rows[4], const float *other, ptrdiff_t d, float *products,
                                    float *squares)
{
    NAME(beside)(rows, other, d, products, squares);
}

/* The inner products of rows of halves with a vector, in single precision. Every sum is over HALF_LANES partial sums,
 * whatever the width of a register: all instruction sets give the same bits. */
#define HALF_LANES 16
static inline TARGET void NAME(load_halves)(const uint16_t *x, float *wide)
{
#if defined(HALVES) && PART == 8
    _mm512_storeu_ps(wide, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x)));
#elif defined(HALVES)
    for (int part = 0; part < HALF_LANES; part += 8)
        _mm256_storeu_ps(wide + part, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + part))));
#else
    for (int part = 0; part < HALF_LANES; part += LANES)
        widen(x + part, wide + part, LANES);
#endif
}
static TARGET void NAME(scan_half)(const char *first, ptrdiff_t step, ptrdiff_t count, const float *other, ptrdiff_t d,
                                   float *out)
{
    for (; count > 0; count--, first += step) {
        const uint16_t *x = (const uint16_t *)(const void *)first;
        float sums[4][HALF_LANES] = {{0}}, wide[HALF_LANES];
        ptrdiff_t i = 0;
#ifdef __GNUC__
        NAME(singles) parts[4][HALF_LANES / (2 * PART)] = {{{0}}};
        for (; i + 4 * HALF_LANES <= d; i += 4 * HALF_LANES)
            for (int turn = 0; turn < 4; turn++) {
                float block[HALF_LANES];
                NAME(load_halves)(x + i + turn * HALF_LANES, block);
                for (int part = 0; part < HALF_LANES / (2 * PART); part++)
                    parts[turn][part] += *(const NAME(singles) *)(const void *)(block + part * 2 * PART)
                        * *(const NAME(singles) *)(const void *)(other + i + turn * HALF_LANES + part * 2 * PART);
            }
        memcpy(sums, parts, sizeof sums);
#endif
        for (int turn = 0; i < d; i += HALF_LANES, turn = (turn + 1) % 4) {
            const int some = d - i < HALF_LANES ? (int)(d - i) : HALF_LANES;
            for (int part = 0; part < some; part += LANES)
                widen(x + i + part, wide + part, some - part < LANES ? some - part : LANES);
            for (int lane = 0; lane < some; lane++)
                sums[turn][lane] += wide[lane] * other[i + lane];
        }
        for (int lane = 0; lane < HALF_LANES; lane++)
            sums[0][lane] = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
        for (int half = HALF_LANES / 2; half > 0; half /= 2)
            for (int lane = 0; lane < half; lane++)
                sums[0][lane] += sums[0][lane + half];
        *out++ = sums[0][0];
    }
}
#undef HALF_LANES
