/* The concave relaxation over a pool, and the bound that its solution proves: as relaxation.py and bounds.py, with
 * bounded effort and without constraints. Part of native.c.
 */

/* As in relaxation.py. */
#define SMALL_NUMBER 1e-300
#define ZERO 1e-9
#define CLIMBS 24

/* A point, and what is known there. */
struct point {
    int64_t *local;     /* positions where x is not zero */
    double *weights;    /* x there */
    ptrdiff_t count;
    double *gradient;   /* of f, for the whole pool */
    double value, bound;
    int rounds;         /* that it took to look no further */
};

/* How far to go: at most so many rounds, each of which lets so many leaders join, to a relative gap; and what an entry
 * of the gradient may be off by, or less than 0 where nothing is to be proven. */
struct effort {
    int rounds, leaders;
    double tolerance, margin;
};

/* out = matrix x, for a square matrix. */
static void multiply(const double *matrix, const double *x, ptrdiff_t m, double *out)
{
    use->dots_double((const char *)matrix, m * (ptrdiff_t)sizeof *matrix, m, x, m, out);
}

/* Write the nearest x with 0 <= x <= 1 and the given total; `shift` is what yields it, and where to look first. */
static void project(const double *point, ptrdiff_t m, double total, double *shift, double *x)
{
    double low = -INFINITY, high = INFINITY;
    for (int round = 0; round < 60; round++) {
        double excess = -total;
        ptrdiff_t inside = 0;
        for (ptrdiff_t i = 0; i < m; i++) {
            const double moved = point[i] - *shift;
            x[i] = moved < 0.0 ? 0.0 : moved > 1.0 ? 1.0 : moved;
            excess += x[i];
            inside += x[i] == moved;
        }
        if (fabs(excess) <= 1e-11 * total)
            return;
        if (excess > 0.0)
            low = *shift;
        else
            high = *shift;
        double trial = inside ? *shift + excess / (double)inside : NAN;
        if (!(low < trial && trial < high)) {
            if (low == -INFINITY) {
                low = INFINITY;
                for (ptrdiff_t i = 0; i < m; i++)
                    low = point[i] < low ? point[i] : low;
                low -= 1.0;
            }
            if (high == INFINITY) {
                high = -INFINITY;
                for (ptrdiff_t i = 0; i < m; i++)
                    high = point[i] > high ? point[i] : high;
            }
            trial = 0.5 * (low + high);
        }
        if (trial == *shift)
            return;
        *shift = trial;
    }
}

/* Bring x nearer to the maximum of linear.x - x'Hx / 2 by accelerated projected gradient steps: as
 * `relaxation._projected_gradient`, with H and linear times the step's length. `room` is for 4 m numbers. */
static void climb(const double *slope, const double *scaled, ptrdiff_t m, double total, double *x, double *room,
                  int64_t *places)
{
    double *y = room, *ahead = room + m, *new = room + 2 * m, *product = room + 3 * m, momentum = 1.0;
    memcpy(y, x, sizeof(double) * (size_t)m);
    multiply(scaled, y, m, product);
    for (ptrdiff_t i = 0; i < m; i++)
        ahead[i] = slope[i] - product[i] + y[i];
    largest(ahead, m, (ptrdiff_t)total, places);
    double shift = ahead[places[(ptrdiff_t)total - 1]] - 0.5;
    for (int step = 0; step < CLIMBS; step++) {
        double back = 0.0;
        project(ahead, m, total, &shift, new);
        for (ptrdiff_t i = 0; i < m; i++)
            back += (y[i] - new[i]) * (new[i] - x[i]);
        if (back > 0.0) {
            momentum = 1.0;
            memcpy(y, new, sizeof(double) * (size_t)m);
        } else {
            const double longer = (1.0 + sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0;
            for (ptrdiff_t i = 0; i < m; i++)
                y[i] = new[i] + (momentum - 1.0) / longer * (new[i] - x[i]);
            momentum = longer;
        }
        memcpy(x, new, sizeof(double) * (size_t)m);
        if (step == CLIMBS - 1)
            break;
        multiply(scaled, y, m, product);
        for (ptrdiff_t i = 0; i < m; i++)
            ahead[i] = slope[i] - product[i] + y[i];
    }
}

/* Write W among some members. */
static void write_block(struct form *form, const int64_t *working, ptrdiff_t m, double *block)
{
    const ptrdiff_t d = form->pool.rows.d;
    for (ptrdiff_t first = 0; first < m; first += 4) {
        const ptrdiff_t size = m - first < 4 ? m - first : 4;
        memset(form->four, 0, sizeof(double) * (size_t)(4 * d));
        for (ptrdiff_t one = 0; one < size; one++)
            use->unit[GRIDDED](grid_of(form, (ptrdiff_t)working[first + one]), form->four + one * d,
                               1.0 / (GRID * GRID), d);
        for (ptrdiff_t at = first; at < m; at++) {
            double cosines[4];
            use->four_grid(grid_of(form, (ptrdiff_t)working[at]), form->four, d, cosines);
            for (ptrdiff_t one = 0; one < size; one++) {
                const ptrdiff_t other = first + one;
                block[at * m + other] = block[other * m + at]
                    = at == other ? 0.0
                                  : between(form, (ptrdiff_t)working[at], (ptrdiff_t)working[other], cosines[one]);
            }
        }
    }
}

/* Maximize linear.x + t x'Wx over 0 <= x <= 1 of a total, from x: as `relaxation.quadratic_program`, not exactly. The
 * block is overwritten; `room` is for 6 m numbers. */
static void correct(const double *linear, double *block, double t, ptrdiff_t m, ptrdiff_t total, double *x,
                    double *room, int64_t *places)
{
    double *moved = room, *means = room + m, mean = 0.0, center = 0.0, most = 0.0, widest = 0.0, size = 0.0;
    double peak = 0.0;
    if (total >= m) {
        for (ptrdiff_t i = 0; i < m; i++)
            x[i] = 1.0;
        return;
    }
    for (ptrdiff_t i = 0; i < m; i++) { /* W is minus the matrix */
        means[i] = 0.0;
        for (ptrdiff_t j = 0; j < m; j++) {
            means[i] -= block[i * m + j];
            widest = fabs(block[i * m + j]) > widest ? fabs(block[i * m + j]) : widest;
        }
        means[i] /= (double)m;
        mean += means[i] / (double)m;
    }
    for (ptrdiff_t i = 0; i < m; i++) {
        moved[i] = linear[i] - 2.0 * t * (double)total * means[i];
        center += moved[i] / (double)m;
        for (ptrdiff_t j = 0; j < m; j++) {
            block[i * m + j] = (-block[i * m + j] - means[i] - (means[j] - mean)) * (2.0 * t);
            most = fabs(block[i * m + j]) > most ? fabs(block[i * m + j]) : most;
        }
    }
    if (most <= 1e-12 * t * widest) { /* nothing but linear terms is left */
        largest(linear, m, total, places);
        memset(x, 0, sizeof(double) * (size_t)m);
        for (ptrdiff_t at = 0; at < total; at++)
            x[places[at]] = 1.0;
        return;
    }
    for (ptrdiff_t i = 0; i < m; i++) {
        moved[i] -= center;
        peak = block[i * m + i] > peak ? block[i * m + i] : peak;
        size = fabs(moved[i]) > size ? fabs(moved[i]) : size;
    }
    /* The largest eigenvalue by a few power steps, a tenth on top: 1 over it is a safe step length. */
    double *direction = room + m, *ahead = room + 2 * m, length = 0.0;
    for (ptrdiff_t i = 0; i < m; i++)
        direction[i] = 1.0 + (double)(i % 7);
    for (int step = 0; step <= 6; step++) {
        length = sqrt(use->dot[DOUBLE](direction, direction, m));
        if (step == 6)
            break;
        for (ptrdiff_t i = 0; i < m; i++)
            direction[i] /= length + SMALL_NUMBER;
        multiply(block, direction, m, ahead);
        memcpy(direction, ahead, sizeof(double) * (size_t)m);
    }
    if (length < 0.5 * peak) /* they began across what grows most: no less than it */
        length = most * (double)m;
    const double step = 1.0 / (1.1 * length + 1e-12 * size + SMALL_NUMBER);
    for (ptrdiff_t i = 0; i < m; i++)
        moved[i] *= step;
    for (ptrdiff_t i = 0; i < m * m; i++)
        block[i] *= step;
    climb(moved, block, m, (double)total, x, room + m, places);
}

/* Maximize the relaxation from x, which is above zero where a candidate is inside: as `relaxation.maximize`, not exactly.
 * 0 without memory. */
static int relax(struct form *form, const struct effort *effort, struct point *best)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k;
    const ptrdiff_t extra = k <= 128 ? (k > effort->leaders ? k : effort->leaders) : (k / 2 > 256 ? k / 2 : 256);
    const ptrdiff_t front = k + extra < n ? k + extra : n;
    double *x = malloc(sizeof(double) * (size_t)(8 * n)), *linear = x + n, *room = linear + n;
    int64_t *working = malloc(sizeof(int64_t) * (size_t)(3 * n)), *leaders = working + n, *places = leaders + n;
    int done = 0;
    if (x == NULL || working == NULL)
        goto done;
    best->bound = INFINITY;
    form->near = front > form->near ? front : form->near;
    for (ptrdiff_t at = 0; at < front; at++) /* the most relevant */
        leaders[at] = at;
    for (int round = 0;; round++) {
        ptrdiff_t m = 0;
        best->rounds = round + 1;
        for (ptrdiff_t at = 0; at < front; at++)
            form->inside[leaders[at]] = 1;
        for (ptrdiff_t place = 0; place < n; place++)
            if (form->inside[place]) {
                working[m] = place;
                linear[m] = form->linear[place];
                x[m++] = form->x[place];
            }
        double *block = malloc(sizeof(double) * (size_t)(m * m));
        if (block == NULL)
            goto done;
        write_block(form, working, m, block);
        correct(linear, block, form->pool.t, m, k, x, room, places);
        free(block);
        ptrdiff_t support = 0, fresh = 0;
        memset(form->inside, 0, (size_t)n);
        memset(form->x, 0, sizeof(double) * (size_t)n);
        for (ptrdiff_t at = 0; at < m; at++)
            if (x[at] > ZERO) {
                form->x[working[at]] = x[at];
                form->inside[working[at]] = 1;
                working[support] = working[at];
                x[support++] = x[at];
            }
        m = support;
        double along = 0.0, linear_part = 0.0, ahead = 0.0;
        for (ptrdiff_t at = 0; at < m; at++)
            linear_part += x[at] * form->linear[working[at]];
        if (form->pool.power == 1) {
            double sum = 0.0;
            for (ptrdiff_t at = 0; at < m; at++)
                sum += x[at];
            add_up(form, working, m, x, &form->total);
            lead(form, &form->total, sum, 0.0, 0, front, leaders);
            along = linear_part + 2.0 * form->pool.t * (sum * sum - form->total.square);
        } else {
            do {
                if (!pull(form, working, m, x, form->pulled))
                    goto done;
                write_gradient(form);
                largest(form->gradient, form->near, front, leaders);
            } while (look_further(form, form->gradient[leaders[front - 1]]));
            for (ptrdiff_t place = form->near; place < n; place++) /* no more than that */
                form->gradient[place] = form->linear[place] + 2.0 * form->pool.t * (double)k;
            for (ptrdiff_t at = 0; at < m; at++)
                along += x[at] * form->gradient[working[at]];
        }
        const double here = 0.5 * (along + linear_part);
        for (ptrdiff_t at = 0; at < k; at++)
            ahead += form->gradient[leaders[at]];
        const double bound = here + ahead - along;
        if (bound < best->bound) {
            best->value = here;
            best->bound = bound > here ? bound : here;
            best->count = m;
            memcpy(best->local, working, sizeof *working * (size_t)m);
            memcpy(best->weights, x, sizeof *x * (size_t)m);
            memcpy(best->gradient, form->gradient, sizeof(double) * (size_t)n);
        }
        for (ptrdiff_t at = 0; at < front; at++)
            fresh += !form->inside[leaders[at]];
        if ((bound - here) / (fabs(here) + SMALL_NUMBER) <= effort->tolerance || fresh == 0
            || round + 1 == effort->rounds)
            break;
    }
    done = 1;
done:
    free(x);
    free(working);
    return done;
}

/* The distance of two unit rows, at a power above 1. */
static double apart_exactly(const double *one, const double *other, ptrdiff_t d, double cosine, int power)
{
    if (cosine <= 1.0 - CLOSE)
        return 1.0 - powered(cosine, power);
    double square = 0.0;
    for (ptrdiff_t i = 0; i < d; i++)
        square += (one[i] - other[i]) * (one[i] - other[i]);
    return -expm1(power * log1p(-square / 2.0));
}

/* What a point proves, in double precision: f's gradient along x, the linear part of that, and the sum of the k
 * largest entries, all computed from the rows as given; and the k-th largest of the pool's gradient. */
struct proof {
    double along, linear, ahead, threshold;
};

/* Write a candidate's row, of unit length, by its position in the pool. */
static void write_unit(const struct given *given, ptrdiff_t local, double *unit)
{
    const ptrdiff_t candidate = (ptrdiff_t)given->order[local];
    const ptrdiff_t row = given->kept == NULL ? candidate : (ptrdiff_t)given->kept[candidate];
    use->unit[given->rows.type](given->rows.first + row * given->rows.step, unit, 1.0 / sqrt(given->squares[candidate]),
                                given->rows.d);
}

/* Count rows from their mean, and write that and their total, each with its weight; return their squares' weighted sum.
 * So little is lost where they are much alike: as `MaxSum.pull`. */
static double center_rows(double *rows, const double *weights, ptrdiff_t count, ptrdiff_t d, double *center,
                          double *total)
{
    const double part = 1.0 / (double)count;
    double squares = 0.0;
    memset(center, 0, sizeof *center * (size_t)d);
    memset(total, 0, sizeof *total * (size_t)d);
    for (ptrdiff_t at = 0; at < count; at++)
        for (ptrdiff_t i = 0; i < d; i++)
            center[i] += rows[at * d + i] * part;
    for (ptrdiff_t at = 0; at < count; at++) {
        for (ptrdiff_t i = 0; i < d; i++) {
            rows[at * d + i] -= center[i];
            total[i] += weights[at] * rows[at * d + i];
        }
        squares += weights[at] * use->square[DOUBLE](rows + at * d, d);
    }
    return squares;
}

/* As `bounds.concave_bound`; the point's weights and gradient are stretched to a total of k. 0 without memory. */
static int prove(struct form *form, const struct given *given, struct point *point, double margin, struct proof *proof)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k, d = given->rows.d, count = point->count;
    double *rows = calloc((size_t)((count + 6) * d), sizeof(double)), *row = rows + (count + 3) * d; /* fours of them */
    double *center = row + d, *total = center + d, theirs = 0.0;
    int64_t *asked = malloc(sizeof(int64_t) * (size_t)(n + k)), *leaders = asked + n;
    ptrdiff_t number = count;
    double sum = 0.0;
    if (rows == NULL || asked == NULL) {
        free(rows);
        free(asked);
        return 0;
    }
    for (ptrdiff_t at = 0; at < count; at++)
        sum += point->weights[at];
    const double stretch = (double)k / sum;
    for (ptrdiff_t place = 0; place < n; place++)
        point->gradient[place] = form->linear[place] + (point->gradient[place] - form->linear[place]) * stretch;
    largest(point->gradient, n, k, leaders);
    proof->threshold = point->gradient[leaders[k - 1]];
    const double least = proof->threshold - 2.0 * margin; /* rounding might have put these among the k largest */
    memset(form->inside, 0, (size_t)n);
    for (ptrdiff_t at = 0; at < count; at++) {
        point->weights[at] *= stretch;
        asked[at] = point->local[at];
        form->inside[asked[at]] = 1;
        write_unit(given, (ptrdiff_t)asked[at], rows + at * d);
    }
    for (ptrdiff_t place = 0; place < n; place++) {
        form->keys[place] = -INFINITY;
        if (point->gradient[place] >= least && !form->inside[place])
            asked[number++] = place;
    }
    proof->along = proof->linear = proof->ahead = 0.0;
    if (form->pool.power == 1)
        theirs = center_rows(rows, point->weights, count, d, center, total);
    for (ptrdiff_t at = 0; at < number; at++) {
        const ptrdiff_t local = (ptrdiff_t)asked[at];
        const double *unit = at < count ? rows + at * d : row;
        double pulled = 0.0;
        if (at >= count)
            write_unit(given, local, row);
        if (form->pool.power == 1) { /* 1 - e.e' is half the square of a difference */
            for (ptrdiff_t i = 0; at >= count && i < d; i++)
                row[i] -= center[i];
            pulled = ((double)k * use->square[DOUBLE](unit, d) + theirs) / 2.0 - use->dot[DOUBLE](unit, total, d);
        } else
            for (ptrdiff_t first = 0; first < count; first += 4) {
                double cosines[4];
                use->four_double(unit, rows + first * d, d, cosines);
                for (ptrdiff_t other = first; other < count && other < first + 4; other++)
                    if (other != at)
                        pulled += point->weights[other]
                            * apart_exactly(unit, rows + other * d, d, cosines[other - first], form->pool.power);
            }
        const double exact = form->linear[local] + 2.0 * form->pool.t * pulled;
        if (at < count) {
            proof->along += point->weights[at] * exact;
            proof->linear += point->weights[at] * form->linear[local];
        }
        if (point->gradient[local] >= least)
            form->keys[local] = exact;
    }
    largest(form->keys, n, k, leaders);
    for (ptrdiff_t at = 0; at < k; at++)
        proof->ahead += form->keys[leaders[at]];
    free(rows);
    free(asked);
    return 1;
}

/* Relax from a set, or from the point where there is one, and prove a bound there, where it is wanted; the point is told by
 * candidates. 0 without memory. */
static int bound_from(struct form *form, const struct given *given, const int64_t *chosen, const struct effort *effort,
                      struct point *point, struct proof *proof)
{
    const ptrdiff_t n = form->pool.n, count = point->count ? point->count : form->pool.k;
    const int64_t *start = point->count ? point->local : chosen;
    memset(form->inside, 0, (size_t)n);
    memset(form->x, 0, sizeof(double) * (size_t)n);
    for (ptrdiff_t at = 0; at < count; at++) {
        const ptrdiff_t place = (ptrdiff_t)form->where[start[at]];
        form->x[place] = point->count ? point->weights[at] : 1.0;
        form->inside[place] = 1;
        form->near = place >= form->near ? place + 1 : form->near;
    }
    if (!relax(form, effort, point) || (effort->margin >= 0.0 && !prove(form, given, point, effort->margin, proof)))
        return 0;
    for (ptrdiff_t at = 0; at < point->count; at++)
        point->local[at] = given->order[point->local[at]];
    memcpy(form->keys, point->gradient, sizeof(double) * (size_t)n);
    for (ptrdiff_t place = 0; place < n; place++)
        point->gradient[given->order[place]] = form->keys[place];
    return 1;
}
