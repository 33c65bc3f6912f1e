/* A pool for Frank-Wolfe and exchanges: its rows on a grid, and the parts of a step. Part of native.c.
 */

/* As in frank_wolfe.py and swap.py. */
#define STATIONARY 1e-6
#define EXACT 4e-15
#define PRECISION 4e-7
#define TIED 40
#define STEPS 200
#define EXCHANGES 1000
#define FRONT 16 /* outsiders that are tried first */
#define MANY 8   /* more of the pool than this part of it are looked at by columns */
#define ASKED 0.25 /* so much of what is to be gained, when columns are completed: or they would be asked for again */
#define FEW 24   /* of sets up to this, in pools up to BROAD, those who leave are remembered */
#define BROAD 4096

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
    float **near_to;    /* each candidate's cosines in single precision; NULL or NaN where not yet computed */
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

/* W of a candidate and one whose column there is. */
static double apart(struct form *form, ptrdiff_t place, double *column, ptrdiff_t member)
{
    if (isnan(column[place]))
        column[place] = between(form, place, member,
                                use->dot[GRIDDED](grid_of(form, place), column + form->pool.n, form->pool.rows.d));
    return column[place];
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
static double way_to(const struct form *form, const int64_t *set, ptrdiff_t n, double *moved)
{
    for (ptrdiff_t place = 0; place < n; place++)
        moved[place] = -form->x[place];
    for (ptrdiff_t at = 0; at < form->pool.k; at++)
        moved[set[at]] += 1.0;
    return product(moved, moved, n);
}

/* Go from x by `moved` towards a set, as far as f rises; what x adds up to, of `size` numbers, goes with it. */
static void step(const struct form *form, double gap, double curvature, const int64_t *set, const double *moved,
                 ptrdiff_t n, double *sums, const double *ahead, ptrdiff_t size)
{
    const double longest = curvature >= 0.0 ? 1.0 : gap / -curvature, part = longest < 1.0 ? longest : 1.0;
    double *x = form->x;
    for (ptrdiff_t place = 0; place < n; place++)
        x[place] = part == 1.0 ? 0.0 : x[place] + part * moved[place];
    for (ptrdiff_t at = 0; part == 1.0 && at < form->pool.k; at++)
        x[set[at]] = 1.0;
    for (ptrdiff_t i = 0; i < size; i++)
        sums[i] = part == 1.0 ? ahead[i] : sums[i] + part * (ahead[i] - sums[i]);
}

/* Write the set that x is nearest to, in levels. */
static void round_off(const struct form *form, ptrdiff_t n, int64_t *set)
{
    leveled(form->x, n, form->keys);
    largest(form->keys, n, form->pool.k, set);
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
    form->near_to = calloc((size_t)n, sizeof *form->near_to);
    form->filled = calloc((size_t)n, sizeof *form->filled);
    form->inside = malloc((size_t)n);
    form->gridded = calloc((size_t)n, 1);
    if (form->memory == NULL || form->grid == NULL || form->where == NULL || form->columns == NULL
        || form->near_to == NULL || form->filled == NULL || form->inside == NULL || form->gridded == NULL)
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
    for (ptrdiff_t place = 0; form->near_to != NULL && place < form->pool.n; place++)
        free(form->near_to[place]);
    free(form->columns);
    free(form->near_to);
    free(form->filled);
    free(form->inside);
    free(form->gridded);
    free(form->memory);
    free(form->where);
    free(form->grid);
}
