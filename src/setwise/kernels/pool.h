/* A pool of candidates, what greedy selection keeps up for each, and distances. Part of native.c.
 */

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
    float *singles;    /* (k + 1, d), what cosines are to in single precision: members, or totals; (4, d) beside it */
    int64_t *held;     /* members of each group */
    int64_t *seen, *exact, *closest;
    int64_t *rivals;   /* room */
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
