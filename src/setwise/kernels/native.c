/* The compiled kernels: rows measured, and greedy selection of small pools.
 *
 * Arrays come as buffers and are checked for type and shape; what they hold has been checked by the caller. All
 * arithmetic is in double precision, and the same on every processor. setwise.kernels says what each function
 * does; the NumPy code beside it is their definition.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "double precision is not what sums are rounded to here"
#endif

#define LANES 8

/* ------------------------------------------------------------------ inner products, by instruction set */

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
    void (*grid[2])(const void *row, int32_t *grid, double scale, ptrdiff_t d);
    void (*four_float)(const void *row, const double *others, ptrdiff_t d, double *products);
    void (*four_double)(const void *row, const double *others, ptrdiff_t d, double *products);
    void (*four_grid)(const void *row, const double *others, ptrdiff_t d, double *products);
    double (*apart_grid)(const double *mean, const int32_t *row, ptrdiff_t d);
    void (*add_grid)(double *sums, const int32_t *row, double weight, ptrdiff_t d);
    void (*each_grid)(const int32_t *const rows[4], const double *other, ptrdiff_t d, double *products);
    void (*add_on_grid)(const float *const rows[4], const double *scales, int64_t *sums, ptrdiff_t d);
    float (*rough)(const float *row, const float *other, ptrdiff_t d);
    float (*rough_both)(const float *row, const float *other, ptrdiff_t d, float *square);
    void (*rough_four)(const float *const rows[4], const float *other, ptrdiff_t d, float *products);
    void (*single)(const uint16_t *row, float *out, ptrdiff_t d);
    void (*follow)(const double *before, const double *member, double *total, float *single, ptrdiff_t d);
    double (*bounds)(const double *upper, const int64_t *seen, const double *rise, double *bounds, ptrdiff_t n);
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

/* ------------------------------------------------------------------ buffers */

/* Rows of numbers: any step between rows, none within. */
struct rows {
    Py_buffer view;
    enum type type;
    const char *first;
    ptrdiff_t n, d, step;
};

static int open_rows(PyObject *array, struct rows *rows)
{
    if (PyObject_GetBuffer(array, &rows->view, PyBUF_STRIDES | PyBUF_FORMAT) < 0)
        return -1;
    const Py_buffer *view = &rows->view;
    const char *known = "efd", *found = strlen(view->format) == 1 ? strchr(known, view->format[0]) : NULL;
    if (found == NULL || view->ndim != 2 || (view->shape[1] > 1 && view->strides[1] != view->itemsize)
        || (uintptr_t)view->buf % (size_t)view->itemsize || view->strides[0] % view->itemsize) {
        PyBuffer_Release(&rows->view);
        PyErr_SetString(PyExc_ValueError, "rows: expected aligned floats (n, d), each row without gaps");
        return -1;
    }
    rows->type = (enum type)(found - known);
    rows->first = view->buf;
    rows->n = view->shape[0];
    rows->d = view->shape[1];
    rows->step = view->strides[0];
    return 0;
}

/* A vector without gaps, of a type and at least so many entries. None is a vector of none where it may be. */
static int open_vector(PyObject *array, Py_buffer *view, const char *type, ptrdiff_t least, int flags)
{
    view->obj = NULL;
    view->buf = NULL;
    if (array == Py_None)
        return 0;
    if (PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0)
        return -1;
    if (strlen(view->format) != 1 || strchr(type, view->format[0]) == NULL || view->itemsize != 8
        || view->len < least * view->itemsize || (uintptr_t)view->buf % 8) {
        PyBuffer_Release(view);
        PyErr_Format(PyExc_ValueError, "expected a vector of %zd numbers of type %s", least, type);
        return -1;
    }
    return 0;
}

static void close_all(struct rows *rows, Py_buffer *views, int count)
{
    for (int place = 0; place < count; place++)
        if (views[place].obj != NULL)
            PyBuffer_Release(&views[place]);
    PyBuffer_Release(&rows->view);
}

/* ------------------------------------------------------------------ measuring */

static PyObject *measure(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *array, *vectors[3];
    struct rows rows;
    Py_buffer views[3];
    if (!PyArg_ParseTuple(args, "OOOO", &array, &vectors[0], &vectors[1], &vectors[2])
        || open_rows(array, &rows) < 0)
        return NULL;
    const ptrdiff_t lengths[3] = {rows.n, rows.d, rows.n};
    for (int place = 0; place < 3; place++)
        if (open_vector(vectors[place], &views[place], "d", lengths[place], place == 1 ? 0 : PyBUF_WRITABLE)
            < 0) {
            close_all(&rows, views, place);
            return NULL;
        }
    double *squares = views[0].buf, *scores = views[2].buf;
    const double *query = views[1].buf;
    double least = INFINITY, most = 0.0;
    Py_BEGIN_ALLOW_THREADS
    if (query == NULL || scores == NULL)
        use->squares[rows.type](rows.first, rows.step, rows.n, rows.d, squares);
    else
        for (ptrdiff_t row = 0; row < rows.n; row++) {
            scores[row] = use->both[rows.type](rows.first + row * rows.step, query, rows.d, squares + row);
            scores[row] *= 1.0 / sqrt(squares[row]);
        }
    for (ptrdiff_t row = 0; row < rows.n; row++) {
        double square = squares[row];
        if (square != square)
            square = INFINITY;
        least = square < least ? square : least;
        most = square > most ? square : most;
    }
    Py_END_ALLOW_THREADS
    close_all(&rows, views, 3);
    return Py_BuildValue("dd", least, most);
}

static PyObject *span(PyObject *module, PyObject *array)
{
    (void)module;
    Py_buffer view;
    double least = INFINITY, most = -INFINITY;
    if (array == Py_None || open_vector(array, &view, "d", 1, 0) < 0)
        return array == Py_None ? PyErr_Format(PyExc_TypeError, "span: expected numbers") : NULL;
    const double *numbers = view.buf;
    for (ptrdiff_t at = 0; at < view.len / 8; at++) {
        least = numbers[at] < least ? numbers[at] : least;
        most = numbers[at] > most ? numbers[at] : most;
        if (isnan(numbers[at])) {
            least = most = NAN;
            break;
        }
    }
    PyBuffer_Release(&view);
    return Py_BuildValue("dd", least, most);
}

/* ------------------------------------------------------------------ greedy selection */

enum objective { MAX_SUM, MMR, LOG_DET };

/* Scores this close count as equal; residuals below these are noise, or add no direction: as in greedy.py and
 * log_det.py. Distances below CLOSE are computed by differences. What is computed twice may differ by less than ROUNDING. */
#define TIE 4e-15
#define NOISE 1e-6
#define DEPENDENT 1e-9
#define ROUNDING 1e-13
#define CLOSE 1e-6
#define LEFT 1e-3

struct form;

struct pool {
    struct rows rows;
    const int64_t *kept;     /* which of the rows count, or NULL for all */
    const double *squares;   /* of each candidate's length, or NULL where they are yet to be measured */
    double least, most;      /* between these they are fine */
    const double *query;     /* what relevance is the cosine to, or NULL where it is given */
    double *relevance;
    const int64_t *codes;    /* groups, or NULL */
    int64_t quota;
    ptrdiff_t n, k;
    enum objective objective;
    double t;
    int power;
    const struct pool *single; /* where the same rows lie in half or single precision, or NULL */
    const double *inverse;     /* of their lengths there */
    const struct form *form;   /* whose rows are gridded when they are first looked at, or NULL */
};

/* What is kept up for each candidate: `number`, which is for mmr the largest similarity, for max-sum the summed
 * distances, for log-det the residual, as of the first `exact` members; and `upper`, which was its score as of the
 * first `seen` members. Those that may no longer be chosen have -inf.
 *
 * Where scores are `screened`, `upper` bounds the score from above by a cosine in single precision, and is the score
 * where `exact` is `seen`; `rough` is the cosine: for mmr the largest, `second` the one after it and `closest` the
 * member that it is to. `exact` is UNMEASURED where `scale`, the inverse of a length, is of single precision, too. */
struct state {
    double *base, *upper, *number, *scale, *bounds, *rough, *second;
    double *rise;      /* (k + 1), by how much a score may have risen since each number of members */
    double *lengths;   /* (k + 1), squared, of the totals */
    char *looked;      /* (k + 1), whether a rise has been measured for as many members as now */
    double *members;   /* (k, d), of unit length */
    double *totals;    /* (k + 1, d), sums of the first members: max-sum with power 1 alone */
    double *columns;   /* (n, k), of the Cholesky factor: log-det alone */
    float *singles;    /* (k + 1, d), what cosines are to in single precision: members, or totals; (d) beside it */
    int64_t *held;     /* members of each group */
    int64_t *seen, *exact, *closest;
    int64_t *chosen;
    ptrdiff_t count;
    int screened;
    double error;      /* of a cosine in single precision */
};

#define UNMEASURED (-1)

static void grid_row(const struct form *form, ptrdiff_t place);

static const char *row_of(const struct pool *pool, ptrdiff_t place)
{
    ptrdiff_t row = pool->kept == NULL ? place : (ptrdiff_t)pool->kept[place];
    if (pool->form != NULL)
        grid_row(pool->form, row);
    return pool->rows.first + row * pool->rows.step;
}

static double along(const struct pool *pool, const struct state *state, ptrdiff_t place, const double *vector)
{
    return use->dot[pool->rows.type](row_of(pool, place), vector, pool->rows.d) * state->scale[place];
}

static double powered(double cosine, int power)
{
    double result = 1.0;
    for (double base = cosine; power; power >>= 1, base *= base)
        if (power & 1)
            result *= base;
    return result;
}

/* An entry of a row, of any type. */
static double entry(const struct pool *pool, const char *row, ptrdiff_t i)
{
    float wide;
    switch (pool->rows.type) {
    case DOUBLE:
        return ((const double *)row)[i];
    case FLOAT:
        return ((const float *)row)[i];
    case GRIDDED:
        return ((const int32_t *)row)[i];
    default:
        widen((const uint16_t *)row + i, &wide, 1);
        return wide;
    }
}

/* The distance of a candidate to a unit row, given their cosine. Where 1 - cos has lost its digits, half the square
 * of the difference has not: as `MaxSum.distances`. */
static double distance(const struct pool *pool, const struct state *state, ptrdiff_t place, const double *other,
                       double cosine)
{
    if (cosine <= 1.0 - CLOSE)
        return 1.0 - powered(cosine, pool->power);
    const char *row = row_of(pool, place);
    double square = 0.0;
    for (ptrdiff_t i = 0; i < pool->rows.d; i++) {
        const double apart = entry(pool, row, i) * state->scale[place] - other[i];
        square += apart * apart;
    }
    return pool->power == 1 ? square / 2.0 : -expm1(pool->power * log1p(-square / 2.0));
}

/* The first member, and the one after the `last`, that a candidate is yet to be held against: of those before which
 * it is up to date; and where mmr's largest cosine is surely the one to the closest, that one alone. */
static ptrdiff_t unsure(const struct state *state, ptrdiff_t place, ptrdiff_t *last)
{
    if (!state->screened || state->seen[place] < state->count || state->count == 0
        || state->second[place] >= state->rough[place] - 2.0 * state->error)
        return (ptrdiff_t)state->exact[place];
    *last = (ptrdiff_t)state->closest[place] + 1;
    return *last - 1;
}

/* Bring a candidate up to date with all members, and return its score. */
static double refresh(const struct pool *pool, struct state *state, ptrdiff_t place)
{
    const ptrdiff_t d = pool->rows.d, count = state->count;
    ptrdiff_t last = count, known = 0;
    double products[4];
    double *number = &state->number[place], *own = state->columns + place * pool->k;
    if (state->exact[place] == UNMEASURED) {
        state->scale[place] = 1.0 / sqrt(use->square[pool->rows.type](row_of(pool, place), d));
        state->exact[place] = 0;
    }
    if (pool->objective == MAX_SUM && pool->power == 1)
        *number = (double)count - along(pool, state, place, state->totals + count * d);
    else
        for (ptrdiff_t seen = unsure(state, place, &last); seen < last; seen++) {
            const ptrdiff_t member = (ptrdiff_t)state->chosen[seen];
            if (pool->rows.type == FLOAT && seen >= known && last - seen >= 4) {
                use->four_float(row_of(pool, place), state->members + seen * d, d, products);
                known = seen + 4;
            }
            double cosine = seen < known ? products[seen + 4 - known] * state->scale[place]
                                         : along(pool, state, place, state->members + seen * d);
            if (pool->objective == MAX_SUM)
                *number += distance(pool, state, place, state->members + seen * d, cosine);
            else if (pool->objective == MMR)
                *number = cosine > *number ? cosine : *number;
            else {
                const double *other = state->columns + member * pool->k, left = state->number[member];
                for (ptrdiff_t step = 0; step < seen; step++)
                    cosine -= own[step] * other[step];
                own[seen] = left > DEPENDENT ? cosine / sqrt(left) : 0.0;
                *number -= own[seen] * own[seen];
            }
        }
    double score = state->base[place];
    if (count > 0 && pool->t > 0.0) {
        if (pool->objective == MAX_SUM)
            score += pool->t / (double)count * *number;
        else if (pool->objective == MMR)
            score -= pool->t * *number;
        else
            score = *number > NOISE ? score + pool->t * log(*number) : -INFINITY;
    }
    state->exact[place] = state->seen[place] = count;
    return state->upper[place] = score;
}

/* A row in single precision, perhaps written where there is room. */
static const float *single_of(const struct pool *pool, ptrdiff_t place, float *room)
{
    const void *row = row_of(pool, place);
    if (pool->rows.type == FLOAT)
        return row;
    use->single(row, room, pool->rows.d);
    return room;
}

/* Note a cosine in single precision: to the members' sum, or for mmr to one of them. */
static void note_cosine(const struct pool *pool, struct state *state, ptrdiff_t place, ptrdiff_t member, double cosine)
{
    double *largest = &state->rough[place], *second = &state->second[place];
    if (pool->objective == MMR && cosine <= *largest)
        *second = cosine > *second ? cosine : *second;
    else {
        *second = *largest;
        *largest = cosine;
        state->closest[place] = member;
    }
}

/* Bound a candidate's score by what is noted. */
static double bound_one(const struct pool *pool, struct state *state, ptrdiff_t place, double part)
{
    const double term = pool->objective == MMR ? -state->rough[place] : 1.0 - state->rough[place] * part;
    state->seen[place] = state->count;
    return state->upper[place] = state->base[place] + pool->t * (term + state->error);
}

/* Bring the bound of a candidate's score up to date with all members, and return it. */
static double screen(const struct pool *pool, struct state *state, ptrdiff_t place)
{
    const ptrdiff_t d = pool->rows.d, count = state->count;
    const float *row = single_of(pool->single == NULL ? pool : pool->single, place, state->singles + (pool->k + 1) * d);
    const double scale = pool->single == NULL ? state->scale[place] : pool->inverse[place];
    for (ptrdiff_t seen = pool->objective == MMR ? (ptrdiff_t)state->seen[place] : count - 1; seen < count; seen++)
        note_cosine(pool, state, place, seen, use->rough(row, state->singles + (seen + 1) * d, d) * scale);
    return bound_one(pool, state, place, 1.0 / (double)count);
}

/* Measure all rows in single precision, together with their cosine to the first member. Returns whether all are well
 * within the range of squares that are fine. */
static int screen_all(const struct pool *pool, struct state *state)
{
    const ptrdiff_t d = pool->rows.d;
    const double least = 1e8 * pool->least, most = pool->most / 2.0;
    float square;
    for (ptrdiff_t place = 0; place < pool->n; place++) {
        const float *row = single_of(pool, place, state->singles + (pool->k + 1) * d);
        const float along = use->rough_both(row, state->singles + d, d, &square);
        if (!(square > least && square < most))
            return 0;
        if (state->exact[place] == UNMEASURED)
            state->scale[place] = 1.0F / sqrtf(square);
        note_cosine(pool, state, place, 0, along * state->scale[place]);
        bound_one(pool, state, place, 1.0);
    }
    return 1;
}

/* Write an upper bound of every candidate's score; return the place of the largest. */
static ptrdiff_t bound_all(const struct pool *pool, const struct state *state)
{
    const double t = pool->t, count = (double)state->count;
    double *bounds = state->bounds, best = -INFINITY;
    ptrdiff_t leader = 0;
    if (pool->objective == MAX_SUM && pool->power > 1) /* no distance is above 1 */
        for (ptrdiff_t place = 0; place < pool->n; place++) {
            bounds[place] = state->base[place]
                + t / count * (state->number[place] + (count - (double)state->seen[place])) + ROUNDING;
            best = bounds[place] > best ? bounds[place] : best;
        }
    else
        best = use->bounds(state->upper, state->seen, state->rise, bounds, pool->n);
    while (leader < pool->n - 1 && bounds[leader] < best)
        leader++;
    return leader;
}

/* Mean distances rise by at most the way of the members' mean: by no more than what it was for one member less, and
 * the last step. Before a candidate was first looked at, its distance is at most 1 plus that mean's length. Other
 * scores only fall, but for the first look at a cosine. `along` is the last member's product with those before. */
static void follow_rise(const struct pool *pool, struct state *state, double along)
{
    const ptrdiff_t count = state->count;
    if (pool->t == 0.0)
        return;
    if (pool->objective == MMR)
        state->rise[0] = pool->t * (1.0 + ROUNDING);
    if (state->totals == NULL)
        return;
    const double size = (double)count, before = state->lengths[count - 1];
    state->lengths[count] = before + 2.0 * along + 1.0;
    state->rise[0] = pool->t * (1.0 + sqrt(state->lengths[count] > 0.0 ? state->lengths[count] : 0.0) / size + ROUNDING + size * DBL_EPSILON);
    if (count > 1) { /* the mean moves by the last member less the mean, over the size */
        const double square = 1.0 - 2.0 * along / (size - 1.0) + before / ((size - 1.0) * (size - 1.0));
        const double step = sqrt((square > 0.0 ? square : 0.0) + ROUNDING + size * DBL_EPSILON) / size;
        for (ptrdiff_t seen = 1; seen < count; seen++)
            state->rise[seen] += pool->t * step;
    }
    state->rise[count] = 0.0;
    memset(state->looked, 0, (size_t)(count + 1));
}

/* Measure the way of the members' mean since there were so many. */
static void measure_rise(const struct pool *pool, struct state *state, ptrdiff_t seen)
{
    const ptrdiff_t d = pool->rows.d, count = state->count;
    if (state->totals == NULL || seen == 0 || state->looked[seen])
        return;
    const double now = (double)count, then = (double)seen;
    const double across = state->screened
        ? use->rough(state->singles + count * d, state->singles + seen * d, d)
            - state->error * sqrt(state->lengths[count] * state->lengths[seen])
        : use->dot[DOUBLE](state->totals + count * d, state->totals + seen * d, d);
    const double square = state->lengths[count] / (now * now) + state->lengths[seen] / (then * then)
        - 2.0 * across / (now * then);
    const double rise = pool->t * sqrt((square > 0.0 ? square : 0.0) + ROUNDING + now * DBL_EPSILON);
    state->rise[seen] = rise < state->rise[seen] ? rise : state->rise[seen];
    state->looked[seen] = 1;
}

static void close_one(struct state *state, ptrdiff_t place)
{
    state->base[place] = state->upper[place] = -INFINITY;
}

/* Make a candidate the next member. */
static void take(const struct pool *pool, struct state *state, ptrdiff_t place)
{
    const ptrdiff_t d = pool->rows.d;
    const char *row = row_of(pool, place);
    double *member = state->members + state->count * d;
    if (state->exact[place] < state->count || state->count == 0)
        refresh(pool, state, place);
    const double along = (double)state->count - state->number[place];
    use->unit[pool->rows.type](row, member, state->scale[place], d);
    if (state->totals != NULL || state->screened) {
        double *total = state->totals == NULL ? NULL : state->totals + (state->count + 1) * d;
        float *single = state->screened ? state->singles + (state->count + 1) * d : NULL;
        use->follow(total == NULL ? NULL : total - d, member, total, single, d);
    }
    state->chosen[state->count++] = place;
    close_one(state, place);
    if (pool->codes != NULL && ++state->held[pool->codes[place]] == pool->quota)
        for (ptrdiff_t other = 0; other < pool->n; other++)
            if (pool->codes[other] == pool->codes[place])
                close_one(state, other);
    follow_rise(pool, state, along);
}

/* The lowest place of those whose number ties with the largest; -1 where that is -inf. */
static ptrdiff_t first_of_best(const double *numbers, ptrdiff_t n, const struct state *fresh, double best)
{
    if (best == -INFINITY)
        return -1;
    const double least = best - TIE * (1.0 + fabs(best));
    for (ptrdiff_t place = 0; place < n; place++)
        if (numbers[place] >= least && (fresh == NULL || fresh->exact[place] == fresh->count))
            return place;
    return -1;
}

/* The candidate of best score, -1 where none may be chosen. */
static ptrdiff_t next(const struct pool *pool, struct state *state)
{
    double best = -INFINITY;
    if (state->count == 0) { /* by relevance alone, as at every diversity but 1 of log-det */
        double *lead = state->bounds;
        for (ptrdiff_t place = 0; place < pool->n; place++) {
            lead[place] = pool->objective == LOG_DET && pool->t == 1.0 ? 0.0 : pool->relevance[place];
            best = lead[place] > best ? lead[place] : best;
        }
        return first_of_best(lead, pool->n, NULL, best);
    }
    const ptrdiff_t leader = bound_all(pool, state);
    if (state->screened && state->seen[leader] < state->count)
        screen(pool, state, leader);
    best = refresh(pool, state, leader);
    double least = best - TIE * (1.0 + fabs(best));
    if (best == -INFINITY)
        least = -DBL_MAX;
    for (ptrdiff_t place = 0; place < pool->n; place++) {
        if (!(state->bounds[place] >= least))
            continue;
        if (state->totals != NULL && state->seen[place] < state->count) {
            measure_rise(pool, state, (ptrdiff_t)state->seen[place]);
            if (state->upper[place] + state->rise[state->seen[place]] < least)
                continue;
        }
        if (state->screened && state->seen[place] < state->count && screen(pool, state, place) < least)
            continue;
        double score = state->exact[place] < state->count ? refresh(pool, state, place) : state->upper[place];
        if (score > best) {
            best = score;
            least = best - TIE * (1.0 + fabs(best));
        }
    }
    return first_of_best(state->upper, pool->n, state, best);
}

/* Write the sum of each member's distances to those before it: what it had when it was taken, but where little is
 * left of that. */
static void sum_distances(const struct pool *pool, const struct state *state, double *sums)
{
    const ptrdiff_t d = pool->rows.d;
    for (ptrdiff_t one = 0; one < state->count; one++) {
        const double *row = state->members + one * d;
        sums[one] = state->number[state->chosen[one]];
        if (sums[one] > LEFT * (double)one)
            continue;
        sums[one] = 0.0;
        for (ptrdiff_t before = 0; before < one; before++) {
            const double *other = state->members + before * d;
            sums[one] += distance(pool, state, (ptrdiff_t)state->chosen[one], other,
                                  use->dot[DOUBLE](row, other, d));
        }
    }
}

/* Write the inverse of each candidate's length, and where there is a query, its cosine; whether all are fine. */
static int measure_pool(const struct pool *pool, double *scale)
{
    if (pool->squares == NULL) /* of many pools: all rows count */
        use->squares[pool->rows.type](pool->rows.first, pool->rows.step, pool->n, pool->rows.d, scale);
    else
        memcpy(scale, pool->squares, sizeof(double) * (size_t)pool->n);
    for (ptrdiff_t place = 0; place < pool->n; place++) {
        if (!(scale[place] > pool->least && scale[place] < pool->most))
            return 0;
        scale[place] = 1.0 / sqrt(scale[place]);
        if (pool->query != NULL)
            pool->relevance[place] = use->dot[pool->rows.type](row_of(pool, place), pool->query, pool->rows.d) * scale[place];
    }
    return 1;
}

/* Select; the first `given` are chosen already. Returns how many are; ODD where a row is to be looked at by others,
 * and BARE without memory. */
enum { ODD = -1, BARE = -2 };

/* How far a cosine in single precision may be off: at most d / 16 + 26 roundings of the product's sum, half as many of
 * the length's, and a few more. */
static double rough_error(ptrdiff_t d)
{
    return ((double)d / 8.0 + 48.0) * (double)FLT_EPSILON / 2.0;
}

static ptrdiff_t select_greedily(const struct pool *pool, int64_t *chosen, ptrdiff_t given, double *numbers)
{
    const ptrdiff_t n = pool->n, k = pool->k, d = pool->rows.d;
    const int summed = pool->objective == MAX_SUM && pool->power == 1, factored = pool->objective == LOG_DET;
    const int screened = (summed || pool->objective == MMR)
        && (pool->rows.type == HALF || pool->rows.type == FLOAT || pool->single != NULL);
    const int measured = !screened || pool->squares != NULL || pool->query != NULL;
    double *memory = malloc(sizeof(double) * (size_t)(7 * n + 3 * (k + 1) + k * d + (summed ? (k + 1) * d : 0)));
    double *columns = factored ? malloc(sizeof(double) * (size_t)(n * k)) : NULL;
    float *singles = screened ? malloc(sizeof(float) * (size_t)((k + 2) * d)) : NULL;
    int64_t *counts = calloc((size_t)(3 * n + pool->rows.n), sizeof(int64_t));
    struct state state = {.columns = columns, .singles = singles, .chosen = chosen, .seen = counts,
                          .exact = counts + n, .closest = counts + 2 * n, .held = counts + 3 * n, .screened = screened,
                          .error = rough_error(d)};
    ptrdiff_t place = 0;
    if (memory == NULL || counts == NULL || (factored && columns == NULL) || (screened && singles == NULL)) {
        place = BARE;
        goto done;
    }
    state.base = memory;
    state.upper = memory + n;
    state.number = memory + 2 * n;
    state.scale = memory + 3 * n;
    state.bounds = memory + 4 * n;
    state.rough = memory + 5 * n;
    state.second = memory + 6 * n;
    state.rise = memory + 7 * n;
    state.lengths = state.rise + k + 1;
    state.looked = (char *)(state.lengths + k + 1);
    state.members = state.lengths + 2 * (k + 1);
    if (summed) {
        state.totals = state.members + k * d;
        memset(state.totals, 0, sizeof(double) * (size_t)d);
    }
    memset(state.rise, 0, sizeof(double) * (size_t)(3 * (k + 1)));
    if (measured && !measure_pool(pool, state.scale)) {
        place = ODD;
        goto done;
    }
    for (ptrdiff_t at = 0; at < n; at++) {
        state.base[at] = state.upper[at] = (1.0 - pool->t) * pool->relevance[at];
        state.exact[at] = measured ? 0 : UNMEASURED;
        state.rough[at] = state.second[at] = -INFINITY;
        state.number[at] = factored ? 1.0 : pool->objective == MMR ? -INFINITY : 0.0;
    }
    while (state.count < k && place >= 0) {
        place = state.count < given ? (ptrdiff_t)chosen[state.count] : next(pool, &state);
        if (place >= 0)
            take(pool, &state, place);
        if (!measured && state.count == 1 && !screen_all(pool, &state)) {
            place = ODD;
            goto done;
        }
    }
    place = state.count;
    if (pool->objective == MAX_SUM)
        sum_distances(pool, &state, numbers);
    else
        for (ptrdiff_t at = 0; at < place; at++)
            numbers[at] = state.number[chosen[at]];
done:
    free(memory);
    free(columns);
    free(singles);
    free(counts);
    return place;
}

static int are_below(const int64_t *places, ptrdiff_t count, ptrdiff_t n)
{
    for (ptrdiff_t at = 0; at < count; at++)
        if (places[at] < 0 || places[at] >= n)
            return 0;
    return 1;
}

/* ------------------------------------------------------------------ Frank-Wolfe and exchanges */

/* As in frank_wolfe.py and swap.py. */
#define STATIONARY 1e-6
#define EXACT 4e-15
#define PRECISION 4e-7
#define TIED 40
#define STEPS 200
#define EXCHANGES 1000

/* What is selected from, as it was given. */
struct given {
    struct rows rows;
    const int64_t *kept;    /* which of the rows count, or NULL for all */
    const int64_t *order;   /* of the candidates: the pool's own */
    const double *squares, *relevance;
};

/* A total of rows, what single precision makes of it, and the error of its products with rows there. */
struct total {
    double *sum;    /* (d), over GRID */
    float *single;  /* (d) */
    double square;  /* of the total's length */
    double error;
};

/* A pool for max-sum, its rows gridded, and the summed form f(x) = linear.x + t x'Wx: as `problem.Pool`. */
struct form {
    struct pool pool;
    const struct given *given;
    double *linear;     /* it falls */
    double **columns;   /* W's, of each candidate, and its row behind it; NULL or NaN where not yet computed */
    double *scale;      /* the inverse of each length */
    double *gradient, *x, *pulled, *ahead, *keys;
    struct total total, other;
    struct pool single; /* the rows as given, in the pool's own order */
    double *rough;      /* each row's product with a total in single precision: this one */
    double *reference, rough_error;
    double *four;       /* (4, d), rows */
    char *inside;       /* whether a candidate is of the set at hand */
    char *gridded;      /* whether a candidate's row is in `grid` */
    ptrdiff_t *filled;  /* of a candidate's column, how many entries are computed */
    ptrdiff_t near;     /* the candidates that are looked at: the first so many */
    ptrdiff_t steps, swaps, levels; /* levels: of relevance, distinct */
    double value;       /* f of the set that was found */
    double *memory, *sums;
    int32_t *grid;
    int64_t *where, *places;
};

static const int32_t *grid_of(const struct form *form, ptrdiff_t place)
{
    return (const int32_t *)(const void *)row_of(&form->pool, place);
}

/* Grid a row, if that is yet to be done. */
static void grid_row(const struct form *form, ptrdiff_t place)
{
    const ptrdiff_t d = form->pool.rows.d;
    if (!form->gridded[place])
        use->grid[form->given->rows.type](row_of(&form->single, place), form->grid + place * d, form->scale[place], d);
    form->gridded[place] = 1;
}

/* Look at all candidates whose gradient may reach a level where x adds up to k: no distance is above 1 where the power
 * is even, and where it is 1 all are looked at. Whether those are more than before. */
static int look_further(struct form *form, double level)
{
    const double least = level - 1e-9 * (fabs(level) + 1.0) - 2.0 * form->pool.t * (double)form->pool.k;
    ptrdiff_t count = form->near;
    while (count < form->pool.n && form->linear[count] >= least)
        count++;
    if (count == form->near)
        return 0;
    form->near = count;
    return 1;
}

/* A column of W, with no entry computed; NULL without memory. */
static double *column_of(struct form *form, ptrdiff_t place)
{
    const ptrdiff_t n = form->pool.n, d = form->pool.rows.d;
    if (form->columns[place] == NULL) {
        double *column = form->columns[place] = malloc(sizeof(double) * (size_t)(n + d));
        if (column == NULL)
            return NULL;
        for (ptrdiff_t at = 0; at < n; at++)
            column[at] = NAN;
        use->unit[GRIDDED](grid_of(form, place), column + n, 1.0 / (GRID * GRID), d);
        column[place] = 0.0;
    }
    return form->columns[place];
}

/* The distance of two candidates, given their cosine: as `MaxSum.distances`. */
static double between(const struct form *form, ptrdiff_t place, ptrdiff_t member, double cosine)
{
    if (!(cosine > 1.0 - CLOSE))
        return 1.0 - powered(cosine, form->pool.power);
    const int32_t *one = grid_of(form, place), *other = grid_of(form, member);
    double square = 0.0;
    for (ptrdiff_t i = 0; i < form->pool.rows.d; i++)
        square += ((double)one[i] - other[i]) * ((double)one[i] - other[i]);
    const double half = square / (GRID * GRID) / 2.0;
    return form->pool.power == 1 ? half : -expm1(form->pool.power * log1p(-half));
}

/* W of a candidate and one whose column there is. */
static double apart(struct form *form, ptrdiff_t place, double *column, ptrdiff_t member)
{
    if (isnan(column[place]))
        column[place] = between(form, place, member,
                                use->dot[GRIDDED](grid_of(form, place), column + form->pool.n, form->pool.rows.d));
    return column[place];
}

/* Compute W's columns of some members, four at a time, for the candidates that are looked at. */
static int fill(struct form *form, const int64_t *members, ptrdiff_t count)
{
    const ptrdiff_t n = form->pool.n, d = form->pool.rows.d, near = form->near;
    ptrdiff_t group[4], first = near;
    int size = 0;
    for (ptrdiff_t at = 0; at < count; at++) {
        const ptrdiff_t member = (ptrdiff_t)members[at];
        if (form->filled[member] < near) {
            if (column_of(form, member) == NULL)
                return 0;
            memcpy(form->four + size * d, form->columns[member] + n, sizeof(double) * (size_t)d);
            first = form->filled[member] < first ? form->filled[member] : first;
            form->filled[member] = near;
            group[size++] = member;
        }
        if (size == 0 || (size < 4 && at < count - 1))
            continue;
        memset(form->four + size * d, 0, sizeof(double) * (size_t)((4 - size) * d));
        for (ptrdiff_t place = first; place < near; place++) {
            double cosines[4];
            use->four_grid(grid_of(form, place), form->four, d, cosines);
            for (int one = 0; one < size; one++)
                if (place != group[one])
                    form->columns[group[one]][place] = between(form, place, group[one], cosines[one]);
        }
        size = 0;
        first = near;
    }
    return 1;
}

/* Write W x for x that is `weight` at some members, for the candidates that are looked at. */
static int pull(struct form *form, const int64_t *members, ptrdiff_t count, const double *weights, double *out)
{
    const ptrdiff_t n = form->near;
    memset(out, 0, sizeof(double) * (size_t)n);
    if (!fill(form, members, count))
        return 0;
    for (ptrdiff_t at = 0; at < count; at++) {
        const double *column = form->columns[members[at]], weight = weights == NULL ? 1.0 : weights[at];
        for (ptrdiff_t place = 0; place < n; place++)
            out[place] += weight * column[place];
    }
    return 1;
}

/* Write the places of the k largest numbers, descending, of equals the lowest place first. */
static void largest(const double *numbers, ptrdiff_t n, ptrdiff_t k, int64_t *places)
{
    ptrdiff_t count = 0;
    for (ptrdiff_t place = 0; place < n; place++) {
        if (count == k && !(numbers[place] > numbers[places[k - 1]]))
            continue;
        ptrdiff_t at = count < k ? count++ : k - 1;
        for (; at > 0 && numbers[place] > numbers[places[at - 1]]; at--)
            places[at] = places[at - 1];
        places[at] = place;
    }
}

/* Write numbers in levels of 2^-TIED of the largest, as `frank_wolfe.leveled`. */
static void leveled(const double *numbers, ptrdiff_t n, double *out)
{
    double most = 0.0;
    int exponent;
    for (ptrdiff_t place = 0; place < n; place++)
        most = fabs(numbers[place]) > most ? fabs(numbers[place]) : most;
    frexp(most, &exponent);
    exponent = exponent > -900 ? exponent : -900;
    for (ptrdiff_t place = 0; place < n; place++)
        out[place] = ldexp(1.0, exponent - TIED) * rint(numbers[place] * ldexp(1.0, TIED - exponent));
}

static double product(const double *one, const double *other, ptrdiff_t n)
{
    return use->dot[DOUBLE](one, other, n);
}

/* Write the way from x to a set; return the square of its length. */
static double way_to(const int64_t *set, ptrdiff_t k, const double *x, ptrdiff_t n, double *moved)
{
    for (ptrdiff_t place = 0; place < n; place++)
        moved[place] = -x[place];
    for (ptrdiff_t at = 0; at < k; at++)
        moved[set[at]] += 1.0;
    return product(moved, moved, n);
}

/* Go from one vector towards another by a part of the way. */
static void approach(double *one, const double *other, double part, ptrdiff_t n)
{
    if (part == 1.0)
        memcpy(one, other, sizeof *one * (size_t)n);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            one[i] += part * (other[i] - one[i]);
}

/* Go from x towards a set, as far as f rises; return the part of the way. */
static double step(double gap, double curvature, const int64_t *set, ptrdiff_t k, const double *moved, double *x,
                   ptrdiff_t n)
{
    double part = curvature >= 0.0 ? 1.0 : gap / -curvature;
    part = part < 1.0 ? part : 1.0;
    for (ptrdiff_t place = 0; place < n; place++)
        x[place] = part == 1.0 ? 0.0 : x[place] + part * moved[place];
    for (ptrdiff_t at = 0; part == 1.0 && at < k; at++)
        x[set[at]] = 1.0;
    return part;
}

#include "screened.h"

/* CCBQP's Algorithm 1, as `frank_wolfe.ascend`; writes a set, and whether `pulled` is W x for it. */
static int ascend(struct form *form, int64_t *set, int *is_pulled)
{
    const ptrdiff_t k = form->pool.k;
    const double twice = 2.0 * form->pool.t;
    double *x = form->x, *pulled = form->pulled, *ahead = form->ahead, *gradient = form->gradient, *moved = form->keys;
    ptrdiff_t n = form->pool.n;
    *is_pulled = 0;
    if (form->pool.power == 1) {
        ascend_from_even(form, set);
        return 1;
    }
    memset(x, 0, sizeof(double) * (size_t)n);
    for (ptrdiff_t at = 0; at < k; at++) { /* the most relevant */
        set[at] = at;
        x[at] = 1.0;
    }
    if (!pull(form, set, k, NULL, pulled))
        return 0;
    for (int round = 0; round < STEPS; round++) {
        double ahead_of = 0.0;
        for (;;) {
            n = form->near;
            for (ptrdiff_t place = 0; place < n; place++)
                gradient[place] = (x[place] + pulled[place]) * twice + form->linear[place];
            leveled(gradient, n, form->keys);
            largest(form->keys, n, k, set);
            if (!look_further(form, gradient[set[k - 1]]))
                break;
            ptrdiff_t count = 0;
            for (ptrdiff_t place = 0; place < n; place++)
                if (x[place] > 0.0) {
                    form->places[count] = place;
                    ahead[count++] = x[place];
                }
            if (!pull(form, form->places, count, ahead, pulled))
                return 0;
        }
        for (ptrdiff_t at = 0; at < k; at++)
            ahead_of += gradient[set[at]];
        const double size = product(gradient, x, n), linear = product(form->linear, x, n), gap = ahead_of - size;
        form->steps++;
        if (gap <= STATIONARY * fabs(size - linear) + EXACT * fabs(linear))
            break;
        if (!pull(form, set, k, NULL, ahead))
            return 0;
        const double square = way_to(set, k, x, n, moved);
        const double bend = product(moved, ahead, n) - product(moved, pulled, n);
        approach(pulled, ahead, step(gap, twice * (bend + square), set, k, moved, x, n), n);
    }
    leveled(x, n, form->keys);
    largest(form->keys, n, k, set);
    *is_pulled = 1;
    for (ptrdiff_t at = 0; at < k; at++)
        *is_pulled &= x[set[at]] == 1.0;
    return 1;
}

static void write_gradient(struct form *form)
{
    for (ptrdiff_t place = 0; place < form->near; place++)
        form->gradient[place] = form->linear[place] + 2.0 * form->pool.t * form->pulled[place];
}

/* Best single exchanges to a local maximum, as `swap.polish`; `pulled` may be W x for the set already. */
static int polish(struct form *form, int64_t *set, int is_pulled)
{
    const ptrdiff_t k = form->pool.k;
    const double twice = 2.0 * form->pool.t;
    double *gradient = form->gradient, most = 0.0, least = 0.0;
    for (ptrdiff_t at = 0; at < k; at++)
        if (set[at] >= form->near) {
            form->near = (ptrdiff_t)set[at] + 1;
            is_pulled = 0;
        }
    if (!is_pulled && !pull(form, set, k, NULL, form->pulled))
        return 0;
    memset(form->inside, 0, (size_t)form->pool.n);
    write_gradient(form);
    for (ptrdiff_t at = 0; at < k; at++) {
        form->inside[set[at]] = 1;
        most = fabs(gradient[set[at]]) > most ? fabs(gradient[set[at]]) : most;
        if (column_of(form, (ptrdiff_t)set[at]) == NULL)
            return 0;
    }
    const double tie = ldexp(most, -TIED);
    for (int round = 0; round < EXCHANGES; round++) {
        double leaving, best = -INFINITY;
        ptrdiff_t comes = 0, slot = 0;
        for (;;) {
            double spread = 0.0, size = 0.0;
            leaving = INFINITY;
            for (ptrdiff_t at = 0; at < k; at++) {
                const double linear = form->linear[set[at]], rest = fabs(gradient[set[at]] - linear);
                leaving = gradient[set[at]] < leaving ? gradient[set[at]] : leaving;
                spread = rest > spread ? rest : spread;
                size = fabs(linear) > size ? fabs(linear) : size;
            }
            const double hidden = PRECISION * spread + EXACT * size;
            least = hidden > least ? hidden : least;
            if (!look_further(form, leaving + least))
                break;
            if (!pull(form, set, k, NULL, form->pulled))
                return 0;
            write_gradient(form);
        }
        const ptrdiff_t n = form->near;
        for (ptrdiff_t place = 0; place < n; place++) {
            if (form->inside[place] || !(gradient[place] > leaving + least))
                continue;
            for (ptrdiff_t at = 0; at < k; at++) {
                const ptrdiff_t member = (ptrdiff_t)set[at];
                if (gradient[place] - gradient[member] <= least || gradient[place] - gradient[member] <= best)
                    continue; /* distances are not negative */
                const double change = apart(form, place, form->columns[member], member) * -twice + gradient[place]
                    - gradient[member];
                best = change > best ? change : best;
            }
        }
        if (!(best > least))
            break;
        for (ptrdiff_t place = 0, found = 0; place < n && !found; place++) { /* the first of those that tie */
            if (form->inside[place] || !(gradient[place] > leaving + least))
                continue;
            for (ptrdiff_t at = 0; at < k && !found; at++) {
                const ptrdiff_t member = (ptrdiff_t)set[at];
                if (gradient[place] - gradient[member] < best - tie)
                    continue;
                found = apart(form, place, form->columns[member], member) * -twice + gradient[place]
                        - gradient[member]
                    >= best - tie;
                comes = place;
                slot = at;
            }
        }
        const int64_t both[2] = {comes, set[slot]};
        const double weights[2] = {1.0, -1.0};
        if (column_of(form, comes) == NULL || !pull(form, both, 2, weights, form->pulled))
            return 0;
        for (ptrdiff_t place = 0; place < n; place++)
            gradient[place] += twice * form->pulled[place];
        form->inside[set[slot]] = 0;
        form->inside[comes] = 1;
        set[slot] = comes;
        form->swaps++;
    }
    return 1;
}

/* f of a set, as `Pool.value`. */
static double value_of(struct form *form, const int64_t *set)
{
    const ptrdiff_t k = form->pool.k, d = form->pool.rows.d;
    double linear = 0.0, spread = 0.0;
    for (ptrdiff_t at = 0; at < k; at++)
        linear += form->linear[set[at]];
    if (form->pool.power > 1) {
        for (ptrdiff_t one = 0; one < k; one++)
            for (ptrdiff_t at = 0; at < one; at++)
                spread += 2.0 * apart(form, (ptrdiff_t)set[one], form->columns[set[at]], (ptrdiff_t)set[at]);
        return linear + form->pool.t * spread;
    }
    memset(form->total.sum, 0, sizeof(double) * (size_t)d);
    for (ptrdiff_t at = 0; at < k; at++)
        use->add_grid(form->total.sum, grid_of(form, (ptrdiff_t)set[at]), 1.0 / (double)k, d);
    for (ptrdiff_t at = 0; at < k; at++)
        spread += use->apart_grid(form->total.sum, grid_of(form, (ptrdiff_t)set[at]), d);
    spread /= GRID * GRID;
    return linear + form->pool.t * (double)k * spread;
}

static int by_place(const void *one, const void *other)
{
    const int64_t left = *(const int64_t *)one, right = *(const int64_t *)other;
    return (left > right) - (left < right);
}

/* Polish each of some starts and write the best set over the first; as `auto.best_polished`. Sets are looked at once. */
static int best_polished(struct form *form, int64_t *sets, ptrdiff_t count, int64_t *seen, int is_pulled)
{
    const ptrdiff_t k = form->pool.k;
    const size_t bytes = sizeof(int64_t) * (size_t)k;
    ptrdiff_t looked = 0;
    double best_value = -INFINITY;
    int64_t *best = seen + 2 * count * k, *sorted = best + k;
    memcpy(best, sets, bytes);
    for (ptrdiff_t start = 0; start < count; start++) {
        int64_t *set = sets + start * k;
        int known = 0;
        memcpy(sorted, set, bytes);
        qsort(sorted, (size_t)k, sizeof *sorted, by_place);
        for (ptrdiff_t at = 0; at < looked; at++)
            known |= memcmp(seen + at * k, sorted, bytes) == 0;
        if (known)
            continue;
        memcpy(seen + looked++ * k, sorted, bytes);
        if (!(form->pool.power == 1 ? polish_by_total(form, set) : polish(form, set, start == 0 && is_pulled)))
            return 0;
        memcpy(seen + looked * k, set, bytes);
        qsort(seen + looked++ * k, (size_t)k, sizeof *sorted, by_place);
        const double value = value_of(form, set);
        if (value > best_value + 1e-12 * fabs(value)) {
            memcpy(best, set, bytes);
            best_value = value;
        }
    }
    memcpy(sets, best, bytes);
    form->value = best_value;
    return 1;
}

/* Put a set in selection order, and write each member's summed distances to those before it. */
static ptrdiff_t arrange(const struct form *form, const struct given *given, int64_t *chosen, double *numbers)
{
    const ptrdiff_t k = form->pool.k;
    int64_t *memory = malloc(sizeof(int64_t) * (size_t)(4 * k));
    if (memory == NULL)
        return BARE;
    int64_t *rows = memory, *order = memory + k;
    double *squares = (double *)(memory + 2 * k), *relevance = (double *)(memory + 3 * k);
    qsort(chosen, (size_t)k, sizeof *chosen, by_place);
    for (ptrdiff_t at = 0; at < k; at++) {
        rows[at] = given->kept == NULL ? chosen[at] : given->kept[chosen[at]];
        squares[at] = given->squares[chosen[at]];
        relevance[at] = given->relevance[chosen[at]];
    }
    const struct pool pool = {.rows = given->rows, .kept = rows, .squares = squares, .most = INFINITY,
                              .relevance = relevance, .n = k, .k = k, .objective = MAX_SUM, .t = form->pool.t,
                              .power = form->pool.power};
    const ptrdiff_t count = select_greedily(&pool, order, 0, numbers);
    for (ptrdiff_t at = 0; at < count; at++)
        rows[at] = chosen[order[at]];
    memcpy(chosen, rows, sizeof *rows * (size_t)k);
    free(memory);
    return count;
}

/* Whether a candidate outside a set may equal a member: those of the same relevance, side by side in the pool's order,
 * and length. */
static int has_equals(const struct form *form, const int64_t *set)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k;
    const double *relevance = form->pool.relevance, *squares = form->given->squares;
    const int64_t *order = form->given->order;
    memset(form->inside, 0, (size_t)n);
    for (ptrdiff_t at = 0; at < k; at++)
        form->inside[set[at]] = 1;
    for (ptrdiff_t at = 0; at < k; at++)
        for (int way = -1; way <= 1; way += 2)
            for (ptrdiff_t place = (ptrdiff_t)set[at] + way;
                 place >= 0 && place < n && relevance[place] == relevance[set[at]]; place += way)
                if (!form->inside[place] && squares[order[place]] == squares[order[set[at]]])
                    return 1;
    return 0;
}

/* Put candidates in the pool's own order; `where` says where in that a candidate is. 0 without memory. */
static int open_form(struct form *form, const struct given *given)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k, d = given->rows.d;
    form->given = given;
    form->memory = malloc(sizeof(double) * (size_t)(10 * n + 8 * d + k));
    form->grid = malloc(sizeof(int32_t) * (size_t)(n * d));
    form->where = malloc(sizeof(int64_t) * (size_t)(3 * n));
    form->columns = calloc((size_t)n, sizeof *form->columns);
    form->filled = calloc((size_t)n, sizeof *form->filled);
    form->inside = malloc((size_t)n);
    form->gridded = calloc((size_t)n, 1);
    if (form->memory == NULL || form->grid == NULL || form->where == NULL || form->columns == NULL
        || form->filled == NULL || form->inside == NULL || form->gridded == NULL)
        return 0;
    double *ones = form->memory, *relevance = ones + n;
    form->linear = relevance + n;
    form->gradient = form->linear + n;
    form->x = form->gradient + n;
    form->pulled = form->x + n;
    form->ahead = form->pulled + n;
    form->keys = form->ahead + n;
    form->sums = form->keys + n;
    form->scale = form->sums + k;
    form->rough = form->scale + n;
    form->reference = form->rough + n;
    form->rough_error = INFINITY;
    form->four = form->reference + d;
    form->total.sum = form->four + 4 * d;
    form->other.sum = form->total.sum + d;
    form->total.single = (float *)(form->other.sum + d);
    form->other.single = form->total.single + d;
    form->places = form->where + n;
    int64_t *rows = form->places + n;
    form->levels = 1;
    const double part = (1.0 - form->pool.t) * (double)(k - 1);
    for (ptrdiff_t place = 0; place < n; place++) {
        const ptrdiff_t at = (ptrdiff_t)given->order[place];
        rows[place] = given->kept == NULL ? at : (ptrdiff_t)given->kept[at];
        ones[place] = GRID * GRID;
        form->scale[place] = 1.0 / sqrt(given->squares[at]);
        relevance[place] = given->relevance[at];
        form->linear[place] = part * relevance[place];
        form->where[at] = place;
        form->levels += place > 0 && relevance[place] != relevance[place - 1]; /* they fall */
    }
    form->pool.rows = (struct rows){.type = GRIDDED, .first = (const char *)form->grid, .n = n, .d = d,
                                    .step = d * (ptrdiff_t)sizeof(int32_t)};
    form->pool.squares = ones;
    form->pool.most = INFINITY;
    form->pool.relevance = relevance;
    form->single = (struct pool){.rows = given->rows, .kept = rows};
    form->pool.single = &form->single;
    form->pool.inverse = form->scale;
    form->pool.form = form;
    form->near = form->pool.power == 1 ? n : k;
    return 1;
}

static void close_form(struct form *form)
{
    if (form->columns != NULL)
        for (ptrdiff_t place = 0; place < form->pool.n; place++)
            free(form->columns[place]);
    free(form->columns);
    free(form->filled);
    free(form->inside);
    free(form->gridded);
    free(form->memory);
    free(form->where);
    free(form->grid);
}

/* Select greedily, by places: from the first candidates alone where no other can have a score as large as one that was
 * picked, as no mean distance is above 1. */
static ptrdiff_t start_greedily(struct form *form, int64_t *set)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k;
    const double t = form->pool.t, *relevance = form->pool.relevance;
    struct pool pool = form->pool;
    for (;;) {
        pool.n = form->near;
        const ptrdiff_t count = select_greedily(&pool, set, 0, form->sums);
        if (count < k)
            return count;
        double least = INFINITY;
        for (ptrdiff_t at = 1; at < k; at++) {
            const double score = (1.0 - t) * relevance[set[at]] + t / (double)at * form->sums[at];
            least = score < least ? score : least;
        }
        least -= t + 1e-9 * (fabs(least) + 1.0);
        ptrdiff_t further = form->near;
        while (further < n && (1.0 - t) * relevance[further] >= least)
            further++;
        if (further == form->near)
            return count;
        form->near = further;
    }
}

/* Find a set, as `auto.search_small` without constraints; BARE without memory, else how many of `numbers` are written:
 * k, or 0 where the set has yet to be put in order. */
static ptrdiff_t search(struct form *form, const struct given *given, int with_greedy, int64_t *chosen,
                        double *numbers)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k;
    const ptrdiff_t starts = !with_greedy ? 1 : 1 < form->levels && form->levels <= n / 2 ? 3 : 2;
    int64_t *sets = malloc(sizeof(int64_t) * (size_t)(11 * k));
    ptrdiff_t done = BARE;
    int is_pulled;
    if (sets == NULL || !ascend(form, sets, &is_pulled))
        goto done;
    const ptrdiff_t near = form->near;
    if (starts > 1 && start_greedily(form, sets + k) < k)
        goto done;
    if (starts > 2) { /* the same candidates by row, which then breaks ties */
        struct pool pool = form->pool;
        int64_t *set = sets + 2 * k;
        pool.single = NULL;
        pool.kept = form->where;
        for (ptrdiff_t place = 0; place < n; place++)
            form->keys[place] = form->pool.relevance[form->where[place]];
        pool.relevance = form->keys;
        if (select_greedily(&pool, set, 0, form->sums) < k)
            goto done;
        for (ptrdiff_t at = 0; at < k; at++)
            set[at] = form->where[set[at]];
    }
    if (!best_polished(form, sets, starts, sets + starts * k, is_pulled && form->near == near))
        goto done;
    for (ptrdiff_t at = 0; at < k; at++)
        chosen[at] = given->order[sets[at]];
    done = has_equals(form, sets) ? 0 : arrange(form, given, chosen, numbers);
done:
    free(sets);
    return done;
}

/* Whether relevance alone proves that no candidate but k is in a set above the one found: as
 * `bounds.relevance_bound`, where no distance is above 1. Rounding is the caller's; so much is left to it. */
static int is_proven(const struct form *form)
{
    const ptrdiff_t k = form->pool.k;
    double upper = form->pool.t * (double)(k * (k - 1));
    for (ptrdiff_t at = 0; at < k; at++)
        upper += form->linear[at]; /* they fall */
    return form->pool.power > 1
        && form->linear[k] < form->linear[k - 1] - (upper - form->value) - 1e-9 * (fabs(upper) + 1.0);
}

#include "relaxation.h"

/* Whether pools cut rows from the first to the last, each of at least k. */
static int are_cuts(const int64_t *cuts, ptrdiff_t count, ptrdiff_t n, ptrdiff_t k)
{
    for (ptrdiff_t at = 0; at < count; at++)
        if (cuts[at + 1] - cuts[at] < k)
            return 0;
    return cuts[0] == 0 && cuts[count] == n;
}

enum { KEPT, SQUARES, QUERIES, GROUPS, CUTS, RELEVANCE, CHOSEN, COUNTS, NUMBERS, VECTORS };

static PyObject *greedy(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *array, *vectors[VECTORS];
    struct pool pool = {0};
    Py_buffer views[VECTORS];
    Py_ssize_t given, k, found = 0;
    int objective;
    long long quota;
    if (!PyArg_ParseTuple(args, "OOO(dd)OOOLidinOOnOO", &array, &vectors[KEPT], &vectors[SQUARES], &pool.least,
                          &pool.most, &vectors[QUERIES], &vectors[RELEVANCE], &vectors[GROUPS], &quota, &objective,
                          &pool.t, &pool.power, &k, &vectors[CUTS], &vectors[CHOSEN], &given, &vectors[COUNTS],
                          &vectors[NUMBERS])
        || open_rows(array, &pool.rows) < 0)
        return NULL;
    for (int place = 0; place < VECTORS; place++) {
        const char *type
            = place == SQUARES || place == QUERIES || place == RELEVANCE || place == NUMBERS ? "d" : "lq";
        const int written = place > RELEVANCE || (place == RELEVANCE && vectors[QUERIES] != Py_None);
        if (open_vector(vectors[place], &views[place], type, 0, written ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&pool.rows, views, place);
            return NULL;
        }
    }
    const struct pool all = pool;
    const ptrdiff_t n = views[RELEVANCE].len / 8, count = views[COUNTS].len / 8;
    const int64_t one[2] = {0, n};
    const int64_t *kept = views[KEPT].buf, *groups = views[GROUPS].buf;
    const int64_t *cuts = views[CUTS].buf == NULL ? one : views[CUTS].buf;
    const double *squares = views[SQUARES].buf, *queries = views[QUERIES].buf;
    double *relevance = views[RELEVANCE].buf;
    int64_t *chosen = views[CHOSEN].buf, *counts = views[COUNTS].buf;
    double *numbers = views[NUMBERS].buf;
    if (relevance == NULL || chosen == NULL || counts == NULL || numbers == NULL
        || (squares != NULL && views[SQUARES].len != n * 8)
        || (queries != NULL && views[QUERIES].len != count * pool.rows.d * 8) || k < 1 || count < 1
        || (cuts == one ? count > 1 : views[CUTS].len != (count + 1) * 8)
        || views[CHOSEN].len != count * k * 8 || views[NUMBERS].len != count * k * 8 || !are_cuts(cuts, count, n, k)
        || given < 0 || given > k || (given > 0 && count > 1) || !are_below(chosen, given, n)
        || objective < MAX_SUM || objective > LOG_DET || pool.power < 1
        || (kept == NULL ? pool.rows.n != n
                         : count > 1 || squares == NULL || views[KEPT].len != n * 8 || !are_below(kept, n, pool.rows.n))
        || (groups != NULL && (views[GROUPS].len != n * 8 || !are_below(groups, n, pool.rows.n)))) {
        PyErr_SetString(PyExc_ValueError, "greedy: the vectors do not belong to the rows");
    } else {
        Py_BEGIN_ALLOW_THREADS
        pool.objective = (enum objective)objective;
        pool.quota = quota;
        pool.kept = kept;
        pool.k = k;
        for (ptrdiff_t at = 0; at < count && found != BARE; at++) {
            const ptrdiff_t start = (ptrdiff_t)cuts[at];
            pool.n = (ptrdiff_t)cuts[at + 1] - start;
            pool.rows.first = all.rows.first + start * all.rows.step;
            pool.squares = squares == NULL ? NULL : squares + start;
            pool.query = queries == NULL ? NULL : queries + at * pool.rows.d;
            pool.relevance = relevance + start;
            pool.codes = groups == NULL ? NULL : groups + start;
            found = counts[at] = select_greedily(&pool, chosen + at * k, given, numbers + at * k);
        }
        Py_END_ALLOW_THREADS
        if (found == BARE)
            PyErr_NoMemory();
    }
    close_all(&pool.rows, views, VECTORS);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ pools that are measured on the way */

struct ranked {
    double relevance;
    int64_t at;
};

/* Sort by falling relevance, of equals the first first: by merging, without branches that are hard to foresee. Both
 * have an entry more; returns that of the two which is sorted. */
static struct ranked *by_falling(struct ranked *from, struct ranked *to, ptrdiff_t n)
{
    for (ptrdiff_t width = 1; width < n; width *= 2) {
        from[n] = from[0]; /* which may be read, and is not taken */
        for (ptrdiff_t start = 0; start < n; start += 2 * width) {
            const ptrdiff_t middle = start + width < n ? start + width : n;
            const ptrdiff_t end = middle + width < n ? middle + width : n;
            ptrdiff_t left = start, right = middle;
            for (ptrdiff_t at = start; at < end; at++) {
                const ptrdiff_t later
                    = (left == middle) | ((right < end) & (from[right].relevance > from[left].relevance));
                to[at] = from[later ? right : left];
                right += later;
                left += 1 - later;
            }
        }
        struct ranked *const sorted = to;
        to = from;
        from = sorted;
    }
    return from;
}

/* Write the squares of a pool's rows, with a query their relevance, and the candidates by falling relevance. ODD where
 * a row is not fine, or that order is not relevance's alone; else 0. */
static ptrdiff_t measure_and_rank(const struct pool *pool, double *squares, int64_t *order)
{
    const ptrdiff_t n = pool->n, d = pool->rows.d;
    struct ranked *ranked = malloc(sizeof *ranked * (size_t)(2 * n + 2)), *sorted;
    ptrdiff_t done = ODD;
    if (ranked == NULL)
        return BARE;
    if (pool->query == NULL)
        use->squares[pool->rows.type](pool->rows.first, pool->rows.step, n, d, squares);
    for (ptrdiff_t place = 0; place < n; place++) {
        if (pool->query != NULL)
            pool->relevance[place]
                = use->both[pool->rows.type](row_of(pool, place), pool->query, d, squares + place);
        if (!(squares[place] > pool->least && squares[place] < pool->most))
            goto done;
        if (pool->query != NULL)
            pool->relevance[place] *= 1.0 / sqrt(squares[place]);
        ranked[place] = (struct ranked){pool->relevance[place], place};
    }
    sorted = by_falling(ranked, ranked + n + 1, n);
    for (ptrdiff_t place = 0; place < n; place++) {
        order[place] = sorted[place].at;
        if (place > 0 && sorted[place].relevance == sorted[place - 1].relevance)
            goto done;
    }
    done = 0;
done:
    free(ranked);
    return done;
}

static int is_sharpness(int power)
{
    return power == 1 || (power > 1 && power % 2 == 0);
}

static PyObject *exchange(PyObject *module, PyObject *args)
{
    (void)module;
    enum { KEPT, QUERY, ORDER, SQUARES, RELEVANCE, CHOSEN, NUMBERS, IDS, WEIGHTS, GRADIENT, VECTORS };
    PyObject *array, *vectors[VECTORS];
    Py_buffer views[VECTORS];
    struct given given = {0};
    struct pool pool = {0};
    struct form form = {0};
    struct point point = {0};
    struct proof proof = {0};
    double tolerance, margin;
    int measured, known, with_greedy, rounds;
    ptrdiff_t done = 0;
    if (!PyArg_ParseTuple(args, "OOp(dd)OOOOdippOOdidOOO", &array, &vectors[KEPT], &measured, &pool.least, &pool.most,
                          &vectors[QUERY], &vectors[ORDER], &vectors[SQUARES], &vectors[RELEVANCE], &form.pool.t,
                          &form.pool.power, &known, &with_greedy, &vectors[CHOSEN], &vectors[NUMBERS], &tolerance,
                          &rounds, &margin, &vectors[IDS], &vectors[WEIGHTS], &vectors[GRADIENT])
        || open_rows(array, &given.rows) < 0)
        return NULL;
    for (int place = 0; place < VECTORS; place++) {
        const char *type = place == KEPT || place == ORDER || place == CHOSEN || place == IDS ? "lq" : "d";
        const int written = place >= CHOSEN || (!measured && (place == ORDER || place == SQUARES))
            || (place == RELEVANCE && vectors[QUERY] != Py_None);
        if (open_vector(vectors[place], &views[place], type, 0, written ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&given.rows, views, place);
            return NULL;
        }
    }
    int64_t *chosen = views[CHOSEN].buf, *ids = views[IDS].buf;
    double *weights = views[WEIGHTS].buf, *gradient = views[GRADIENT].buf;
    given.kept = views[KEPT].buf;
    given.order = views[ORDER].buf;
    given.squares = views[SQUARES].buf;
    given.relevance = views[RELEVANCE].buf;
    form.pool.objective = MAX_SUM;
    if (given.order == NULL || given.squares == NULL || given.relevance == NULL || chosen == NULL
        || views[NUMBERS].buf == NULL || given.rows.type == DOUBLE
        || (rounds > 0 && (ids == NULL || weights == NULL || gradient == NULL))) {
        PyErr_SetString(PyExc_ValueError, "exchange: a vector is missing, or the rows are doubles");
        close_all(&given.rows, views, VECTORS);
        return NULL;
    }
    const ptrdiff_t n = form.pool.n = views[ORDER].len / 8, k = form.pool.k = views[CHOSEN].len / 8;
    pool.rows = given.rows;
    pool.n = n;
    pool.query = views[QUERY].buf;
    pool.relevance = views[RELEVANCE].buf;
    if (views[SQUARES].len != n * 8 || views[RELEVANCE].len != n * 8 || views[NUMBERS].len != k * 8 || k < 1 || k >= n
        || !is_sharpness(form.pool.power) || (measured ? !are_below(given.order, n, n) : given.kept != NULL)
        || (pool.query != NULL && (measured || views[QUERY].len != given.rows.d * 8))
        || (known && !are_below(chosen, k, n))
        || (given.kept == NULL ? given.rows.n != n
                               : views[KEPT].len != n * 8 || !are_below(given.kept, n, given.rows.n))
        || (rounds > 0
            && (views[IDS].len != n * 8 || views[WEIGHTS].len != n * 8 || views[GRADIENT].len != n * 8)))
        PyErr_SetString(PyExc_ValueError, "exchange: the vectors do not belong to the rows");
    else {
        Py_BEGIN_ALLOW_THREADS
        if (!measured)
            done = measure_and_rank(&pool, views[SQUARES].buf, views[ORDER].buf);
        if (done == 0 && !open_form(&form, &given))
            done = BARE;
        else if (done == 0)
            done = known ? 0 : search(&form, &given, with_greedy, chosen, views[NUMBERS].buf);
        if (done >= 0 && rounds > 0 && (known || !is_proven(&form))) {
            point = (struct point){.local = ids, .weights = weights, .gradient = gradient};
            if (!bound_from(&form, &given, chosen, tolerance, rounds, margin, &point, &proof))
                done = BARE;
        }
        close_form(&form);
        Py_END_ALLOW_THREADS
        if (done == BARE)
            PyErr_NoMemory();
    }
    close_all(&given.rows, views, VECTORS);
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("nnnndddd", (Py_ssize_t)done, (Py_ssize_t)form.steps, (Py_ssize_t)form.swaps,
                         (Py_ssize_t)point.count, proof.along, proof.linear, proof.ahead, proof.threshold);
}

/* ------------------------------------------------------------------ many pools */

/* Find a pool's set, measured on the way: as `search`, or ODD as `measure_and_rank`. */
static ptrdiff_t search_pool(struct form *form, const struct pool *pool, int with_greedy, int64_t *chosen,
                             double *numbers)
{
    const ptrdiff_t n = pool->n;
    int64_t *order = malloc(sizeof *order * (size_t)n);
    double *squares = malloc(sizeof *squares * (size_t)n);
    struct given given = {.rows = pool->rows, .order = order, .squares = squares, .relevance = pool->relevance};
    ptrdiff_t done = order == NULL || squares == NULL ? BARE : measure_and_rank(pool, squares, order);
    if (done == 0) {
        given.rows.n = n;
        *form = (struct form){.pool = {.n = n, .k = pool->k, .objective = MAX_SUM, .t = pool->t, .power = pool->power}};
        done = open_form(form, &given) ? search(form, &given, with_greedy, chosen, numbers) : BARE;
        close_form(form);
    }
    free(order);
    free(squares);
    return done;
}

static PyObject *exchange_each(PyObject *module, PyObject *args)
{
    (void)module;
    enum { QUERIES, CUTS, RELEVANCE, CHOSEN, COUNTS, NUMBERS, WORK, VECTORS };
    PyObject *array, *vectors[VECTORS];
    Py_buffer views[VECTORS];
    struct pool pool = {0};
    Py_ssize_t k, found = 0;
    int with_greedy;
    if (!PyArg_ParseTuple(args, "O(dd)OOOdipnOOOO", &array, &pool.least, &pool.most, &vectors[QUERIES], &vectors[CUTS],
                          &vectors[RELEVANCE], &pool.t, &pool.power, &with_greedy, &k, &vectors[CHOSEN],
                          &vectors[COUNTS],
                          &vectors[NUMBERS], &vectors[WORK])
        || open_rows(array, &pool.rows) < 0)
        return NULL;
    for (int place = 0; place < VECTORS; place++) {
        const char *type = place == QUERIES || place == RELEVANCE || place == NUMBERS ? "d" : "lq";
        const int written = place > RELEVANCE || (place == RELEVANCE && vectors[QUERIES] != Py_None);
        if (open_vector(vectors[place], &views[place], type, 0, written ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&pool.rows, views, place);
            return NULL;
        }
    }
    const char *first = pool.rows.first;
    const ptrdiff_t n = pool.rows.n, d = pool.rows.d, count = views[COUNTS].len / 8;
    const int64_t *cuts = views[CUTS].buf;
    const double *queries = views[QUERIES].buf;
    double *relevance = views[RELEVANCE].buf, *numbers = views[NUMBERS].buf;
    int64_t *chosen = views[CHOSEN].buf, *counts = views[COUNTS].buf, *work = views[WORK].buf;
    if (cuts == NULL || relevance == NULL || chosen == NULL || counts == NULL || numbers == NULL || work == NULL
        || pool.rows.type == DOUBLE || k < 1 || count < 1 || !is_sharpness(pool.power) || views[RELEVANCE].len != n * 8
        || views[CUTS].len != (count + 1) * 8 || (queries != NULL && views[QUERIES].len != count * d * 8)
        || views[CHOSEN].len != count * k * 8 || views[NUMBERS].len != count * k * 8 || views[WORK].len != count * 16
        || !are_cuts(cuts, count, n, k + 1)) {
        PyErr_SetString(PyExc_ValueError, "exchange_each: the vectors do not belong to the rows");
    } else {
        Py_BEGIN_ALLOW_THREADS
        pool.k = k;
        for (ptrdiff_t at = 0; at < count && found != BARE; at++) {
            const ptrdiff_t start = (ptrdiff_t)cuts[at];
            struct form form = {0};
            pool.n = (ptrdiff_t)cuts[at + 1] - start;
            pool.rows.first = first + start * pool.rows.step;
            pool.query = queries == NULL ? NULL : queries + at * d;
            pool.relevance = relevance + start;
            found = counts[at] = search_pool(&form, &pool, with_greedy, chosen + at * k, numbers + at * k);
            work[2 * at] = form.steps;
            work[2 * at + 1] = form.swaps;
        }
        Py_END_ALLOW_THREADS
        if (found == BARE)
            PyErr_NoMemory();
    }
    close_all(&pool.rows, views, VECTORS);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ k-medoids */

#include "medoids.h"

static PyObject *medoids(PyObject *module, PyObject *args)
{
    (void)module;
    enum { COST, OWN, SIZES, PLACES, PRICES, LOWER, VECTORS };
    enum { GREEDY, EXCHANGE, ASCEND };
    PyObject *vectors[VECTORS];
    Py_buffer views[VECTORS];
    struct medoids problem = {0};
    Py_ssize_t k, number, made = 0;
    int task, given;
    double *room = NULL;
    int64_t *places = NULL;
    if (!PyArg_ParseTuple(args, "iOOOOnnOpO", &task, &vectors[COST], &vectors[OWN], &vectors[SIZES], &vectors[PLACES], &k,
                          &number, &vectors[PRICES], &given, &vectors[LOWER]))
        return NULL;
    for (int at = 0; at < VECTORS; at++)
        if (open_vector(vectors[at], &views[at], at == PLACES ? "lq" : "d", 0, at < PLACES ? 0 : PyBUF_WRITABLE) < 0) {
            while (at-- > 0)
                PyBuffer_Release(&views[at]);
            return NULL;
        }
    const ptrdiff_t count = views[SIZES].len / 8;
    int64_t *sets = views[PLACES].buf;
    if (count < 1 || k < 1 || views[COST].buf == NULL || views[OWN].buf == NULL || sets == NULL)
        goto odd;
    problem.k = k;
    problem.m = views[OWN].len / 8 / count;
    if (problem.m < k || views[OWN].len != count * problem.m * 8 || views[PLACES].len != count * k * 8)
        goto odd;
    problem.n = views[COST].len / 8 / (count * problem.m);
    if (views[COST].len != count * problem.n * problem.m * 8 || number < 0 || (task == GREEDY && number > k)
        || (task == ASCEND && (views[PRICES].len != count * problem.n * 8 || views[LOWER].len != count * 8)))
        goto odd;
    for (ptrdiff_t at = 0; at < count; at++)
        if (!are_below(sets + at * k, task == GREEDY ? number : k, problem.m))
            goto odd;
    Py_BEGIN_ALLOW_THREADS
    if (open_medoids(&problem, &room, &places))
        for (ptrdiff_t at = 0; at < count; at++) {
            problem.cost = (const double *)views[COST].buf + at * problem.n * problem.m;
            problem.own = (const double *)views[OWN].buf + at * problem.m;
            problem.size = ((const double *)views[SIZES].buf)[at];
            if (task == GREEDY)
                cover_greedily(&problem, sets + at * k, number);
            else if (task == EXCHANGE)
                made += exchange_medoids(&problem, sets + at * k, number);
            else
                ((double *)views[LOWER].buf)[at] = bound_cost(&problem, sets + at * k, number, given,
                                                          (double *)views[PRICES].buf + at * problem.n);
        }
    else
        made = BARE;
    free(room);
    free(places);
    Py_END_ALLOW_THREADS
    if (made == BARE)
        PyErr_NoMemory();
    goto done;
odd:
    PyErr_SetString(PyExc_ValueError, "medoids: the vectors do not belong together");
done:
    for (int at = 0; at < VECTORS; at++)
        if (views[at].obj != NULL)
            PyBuffer_Release(&views[at]);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(made);
}

static PyObject *distances(PyObject *module, PyObject *args)
{
    (void)module;
    enum { FREE, PRODUCTS, DISTANCES, VECTORS };
    PyObject *array, *vectors[VECTORS];
    struct rows rows;
    Py_buffer views[VECTORS];
    Py_ssize_t count;
    double most = 0.0, *room = NULL;
    if (!PyArg_ParseTuple(args, "OnOOO", &array, &count, &vectors[FREE], &vectors[PRODUCTS], &vectors[DISTANCES])
        || open_rows(array, &rows) < 0)
        return NULL;
    const ptrdiff_t all = rows.n;
    for (int at = 0; at < VECTORS; at++)
        if (open_vector(vectors[at], &views[at], "d", all, at > FREE ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&rows, views, at);
            return NULL;
        }
    rows.n = count < 1 ? 0 : all / count;
    if (count < 1 || rows.n * count != all || views[FREE].len != all * 8
        || views[PRODUCTS].len != all * rows.n * 8 || views[DISTANCES].len != all * rows.n * 8)
        PyErr_SetString(PyExc_ValueError, "distances: the vectors do not belong to the rows");
    else {
        Py_BEGIN_ALLOW_THREADS
        room = malloc(sizeof *room * (size_t)((rows.n + 6) * rows.d));
        for (ptrdiff_t at = 0; room != NULL && at < count; at++) {
            const double found = distances_of(
                &rows, rows.first + at * rows.n * rows.step, (const double *)views[FREE].buf + at * rows.n, room,
                (double *)views[PRODUCTS].buf + at * rows.n * rows.n, (double *)views[DISTANCES].buf + at * rows.n * rows.n);
            most = found > most ? found : most;
        }
        free(room);
        Py_END_ALLOW_THREADS
        if (room == NULL)
            PyErr_NoMemory();
    }
    close_all(&rows, views, VECTORS);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(most);
}

/* ------------------------------------------------------------------ transport */

#include "transport.h"

static PyObject *transport(PyObject *module, PyObject *args)
{
    (void)module;
    enum { INSIDE, SPENT, VECTORS };
    PyObject *each, *distances, *vectors[VECTORS];
    struct queries queries = {0};
    Py_buffer views[VECTORS];
    Py_ssize_t reach;
    double bound, limit;
    int crossed = 1;
    if (!PyArg_ParseTuple(args, "OOnddOO", &each, &distances, &reach, &bound, &limit, &vectors[INSIDE], &vectors[SPENT])
        || open_rows(each, &queries.each) < 0)
        return NULL;
    if (open_rows(distances, &queries.distances) < 0) {
        PyBuffer_Release(&queries.each.view);
        return NULL;
    }
    const ptrdiff_t m = queries.m = queries.each.n;
    for (int at = 0; at < VECTORS; at++)
        if (open_vector(vectors[at], &views[at], at == INSIDE ? "lq" : "d", m, PyBUF_WRITABLE) < 0) {
            close_all(&queries.each, views, at);
            PyBuffer_Release(&queries.distances.view);
            return NULL;
        }
    queries.reach = reach;
    if (queries.each.type != DOUBLE || queries.distances.type != DOUBLE || queries.distances.n != m || m < 1 || reach < 1
        || reach > queries.each.d || reach > queries.distances.d || views[INSIDE].buf == NULL || views[SPENT].buf == NULL)
        PyErr_SetString(PyExc_ValueError, "transport: the vectors do not belong together");
    else {
        double *room = calloc((size_t)m * 4, sizeof *room);
        int64_t *places = calloc((size_t)m * 2, sizeof *places);
        if (room != NULL && places != NULL) {
            Py_BEGIN_ALLOW_THREADS
            double cost;
            int ran_out;
            queries.whole = places;
            queries.next_whole = places + m;
            queries.spent = room;
            queries.next_spent = room + m;
            queries.paid = room + 2 * m;
            queries.next_paid = room + 3 * m;
            if (limit < 0.0)
                limit = limit_of(&queries, bound, &crossed);
            memset(room, 0, sizeof *room * (size_t)m * 4);
            memset(places, 0, sizeof *places * (size_t)m);
            follow_to(&queries, limit, &cost, &ran_out);
            memcpy(views[INSIDE].buf, queries.next_whole, sizeof *places * (size_t)m);
            memcpy(views[SPENT].buf, queries.next_spent, sizeof *room * (size_t)m);
            Py_END_ALLOW_THREADS
        } else
            PyErr_NoMemory();
        free(room);
        free(places);
    }
    close_all(&queries.each, views, VECTORS);
    PyBuffer_Release(&queries.distances.view);
    return PyErr_Occurred() ? NULL : Py_BuildValue("dO", limit, crossed ? Py_True : Py_False);
}

/* ------------------------------------------------------------------ the module */

static PyObject *instructions(PyObject *module, PyObject *name)
{
    (void)module;
    for (size_t place = 0; place < sizeof SETS / sizeof *SETS; place++)
        if (runs_here(place)
            && (name == Py_None || PyUnicode_CompareWithASCIIString(name, SETS[place].name) == 0)) {
            use = SETS[place].kernels;
            return PyUnicode_FromString(SETS[place].name);
        }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"instructions", instructions, METH_O,
     "Use an instruction set by name, or the widest for None; return its name, None where it does not run here."},
    {"measure", measure, METH_VARARGS, "measure(rows, squares, query or None, cosines or None)"},
    {"span", span, METH_O, "Return the least and the largest of some numbers, both NaN where one is."},
    {"greedy", greedy, METH_VARARGS,
     "greedy(rows, kept, squares, range, queries, relevance, groups, quota, objective, diversity, sharpness, k, cuts, chosen, given, "
     "counts, numbers)"},
    {"exchange", exchange, METH_VARARGS,
     "exchange(rows, kept, measured, range, query, order, squares, relevance, diversity, sharpness, known, with_greedy, chosen, numbers, "
     "tolerance, rounds, margin, ids, weights, gradient)"},
    {"exchange_each", exchange_each, METH_VARARGS,
     "exchange_each(rows, range, queries, cuts, relevance, diversity, sharpness, with_greedy, k, chosen, counts, "
     "numbers, work)"},
    {"distances", distances, METH_VARARGS, "distances(rows, count, free, products, distances)"},
    {"medoids", medoids, METH_VARARGS,
     "medoids(task, cost, own, sizes, places, k, number, prices or None, given, lower or None)"},
    {"transport", transport, METH_VARARGS, "transport(each, distances, reach, bound, limit or -1, whole, spent)"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "setwise.kernels._native", "The compiled kernels; see setwise.kernels.", 0, methods, slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
