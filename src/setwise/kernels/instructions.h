/* What is done with the entries of a row, compiled for each instruction set, and which of them runs. Part of native.c.
 */

enum type { HALF, FLOAT, DOUBLE, GRIDDED };

/* Unit rows rounded to multiples of 1 / GRID are integers below 2^27: their products, and sums of those, are exact
 * in double precision. Adding WHOLE and taking it off rounds to the nearest integer. */
#define GRID 0x1p26
#define WHOLE 0x1.8p52

struct kernels {
    double (*dot[4])(const void *row, const double *other, ptrdiff_t d);
    double (*square[3])(const void *row, ptrdiff_t d);
    void (*squares[3])(const char *first, ptrdiff_t step, ptrdiff_t count, ptrdiff_t d, double *out);
    void (*dots_double)(const char *first, ptrdiff_t step, ptrdiff_t count, const double *other, ptrdiff_t d,
                        double *out);
    double (*both[3])(const void *row, const double *other, ptrdiff_t d, double *square);
    void (*unit[4])(const void *row, double *out, double scale, ptrdiff_t d);
    void (*grid[3])(const void *row, int32_t *grid, double scale, ptrdiff_t d);
    void (*four_float)(const void *row, const double *others, ptrdiff_t d, double *products);
    void (*four_double)(const void *row, const double *others, ptrdiff_t d, double *products);
    void (*four_grid)(const void *row, const double *others, ptrdiff_t d, double *products);
    double (*apart_grid)(const double *mean, const int32_t *row, ptrdiff_t d);
    void (*add_grid)(double *sums, const int32_t *row, double weight, ptrdiff_t d);
    void (*each_grid)(const int32_t *const rows[4], const double *other, ptrdiff_t d, double *products);
    void (*add_on_grid)(const float *const rows[4], const double *scales, int64_t *sums, ptrdiff_t d);
    float (*rough)(const float *row, const float *other, ptrdiff_t d);
    void (*rough_four)(const float *const rows[4], const float *other, ptrdiff_t d, float *products);
    void (*rough_both)(const float *const rows[4], const float *other, ptrdiff_t d, float *products, float *squares);
    void (*scan_half)(const char *first, ptrdiff_t step, ptrdiff_t count, const float *other, ptrdiff_t d, float *out);
    void (*single)(const uint16_t *row, float *out, ptrdiff_t d);
    void (*follow)(const double *before, const double *member, double *total, float *single, ptrdiff_t d);
    double (*bounds)(const double *upper, const int64_t *seen, const double *rise, double *bounds, ptrdiff_t n);
    double (*most_left)(const double *numbers, const float *cosines, double multiple, ptrdiff_t n, double *unknown);
    void (*least_sums)(const double *cost, const double *prices, ptrdiff_t n, ptrdiff_t m, double *sums);
    void (*exchanged)(const double *cost, double least, double second, ptrdiff_t m, double *joins, double *change);
};

/* Half precision by shifting bits; the largest exponent is that of Inf and NaN. */
static inline void widen(const uint16_t *half, float *wide, int count)
{
    uint32_t bits[LANES];
    for (int lane = 0; lane < count; lane++)
        bits[lane] = ((uint32_t)half[lane] & 0x8000u) << 16 | ((uint32_t)half[lane] & 0x7FFFu) << 13
            | ((0u - (uint32_t)((half[lane] & 0x7C00u) == 0x7C00u)) & 0x7F800000u);
    memcpy(wide, bits, (size_t)count * sizeof *wide);
    for (int lane = 0; lane < count; lane++)
        wide[lane] *= 0x1p112f;
}

#ifdef __GNUC__
typedef float fours __attribute__((vector_size(4 * sizeof(float))));
#endif
#define TARGET
#define NAME(x) x##_baseline
#define PART 2
#include "dots.h"
#undef TARGET
#undef NAME
#undef PART

#if defined(__x86_64__) && defined(__GNUC__)
#define DISPATCHED 1
#include <cpuid.h>
#include <immintrin.h>
#define HALVES
#define TARGET __attribute__((target("avx2,f16c")))
#define NAME(x) x##_avx2
#define PART 4
#define WIDER(name) _mm256_##name
#define FLOATS(x) _mm_loadu_ps(x)
#define GRIDS(x) _mm_loadu_si128((const void *)(x))
#include "dots.h"
#undef TARGET
#undef NAME
#undef PART
#undef WIDER
#undef FLOATS
#undef GRIDS
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,f16c,prefer-vector-width=512")))
#define NAME(x) x##_avx512
#define PART 8
#define WIDER(name) _mm512_##name
#define FLOATS(x) _mm256_loadu_ps(x)
#define GRIDS(x) _mm256_loadu_si256((const void *)(x))
#include "dots.h"
#undef TARGET
#undef NAME
#undef PART
#undef WIDER
#undef FLOATS
#undef GRIDS
#undef HALVES
#endif

static const struct {
    const char *name;
    const struct kernels *kernels;
} SETS[] = {
#ifdef DISPATCHED
    {"avx512", &kernels_avx512},
    {"avx2", &kernels_avx2},
#endif
    {"baseline", &kernels_baseline},
};

static int runs_here(size_t place)
{
#ifdef DISPATCHED
    unsigned int leaf[4] = {0};
    __builtin_cpu_init();
    if (SETS[place].kernels != &kernels_baseline
        && !(__get_cpuid(1, leaf, leaf + 1, leaf + 2, leaf + 3) && leaf[2] & bit_F16C))
        return 0;
    if (SETS[place].kernels == &kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (SETS[place].kernels == &kernels_avx2)
        return __builtin_cpu_supports("avx2");
#endif
    (void)place;
    return 1;
}

static const struct kernels *use = &kernels_baseline;
