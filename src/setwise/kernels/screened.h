/* Frank-Wolfe and exchanges where distances are 1 less the cosine: W x is Σx less each row's product with one vector, the
 * rows' total. Products in single precision, with a bound on their error, tell which candidates can matter; what those
 * have is then computed in double precision. Part of native.c.
 */

static void note_total(const struct form *form, struct total *total)
{
    const ptrdiff_t d = form->pool.rows.d;
    use->follow(NULL, total->sum, NULL, total->single, d);
    total->square = GRID * GRID * use->dot[DOUBLE](total->sum, total->sum, d);
    /* at most d / 16 + 11 roundings of a sum, one of the total, sqrt(d) / 8 of the grid: as `dot_error` */
    total->error = ((double)d / 8.0 + 16.0) * (double)FLT_EPSILON / 2.0 * sqrt(total->square);
}

/* Write the total of some members, each with a weight or none. */
static void add_up(const struct form *form, const int64_t *members, ptrdiff_t count, const double *weights,
                   struct total *total)
{
    const ptrdiff_t d = form->pool.rows.d;
    memset(total->sum, 0, sizeof(double) * (size_t)d);
    for (ptrdiff_t at = 0; at < count; at++)
        use->add_grid(total->sum, grid_of(form, (ptrdiff_t)members[at]),
                      (weights == NULL ? 1.0 : weights[at]) / (GRID * GRID), d);
    note_total(form, total);
}

/* The gradient by a cosine that is known. */
static double by_cosine(const struct form *form, double sum, double ridge, ptrdiff_t place, double cosine)
{
    return form->linear[place]
        + 2.0 * form->pool.t * (sum - cosine + (ridge > 0.0 ? ridge * form->x[place] : 0.0));
}

/* Write the gradient of some candidates, where x adds up to `sum`, in double precision; `ridge` is added to W's
 * diagonal. */
static void exactly(const struct form *form, const struct total *total, double sum, double ridge,
                    const int64_t *places, ptrdiff_t count)
{
    for (ptrdiff_t first = 0; first < count; first += 4) {
        const int32_t *rows[4];
        double cosines[4];
        for (ptrdiff_t one = 0; one < 4; one++)
            rows[one] = grid_of(form, (ptrdiff_t)places[first + one < count ? first + one : first]);
        use->each_grid(rows, total->sum, form->pool.rows.d, cosines);
        for (ptrdiff_t one = 0; one < 4 && first + one < count; one++) {
            const ptrdiff_t place = (ptrdiff_t)places[first + one];
            form->gradient[place] = by_cosine(form, sum, ridge, place, cosines[one]);
        }
    }
}

/* Write the products of some candidates' rows with a total in single precision. */
static void products_of(const struct form *form, const struct total *total, const int64_t *places, ptrdiff_t count,
                        double *out)
{
    const ptrdiff_t d = form->pool.rows.d;
    for (ptrdiff_t first = 0; first < count; first += 4) {
        const float *rows[4];
        float along[4];
        four_singles(&form->single, places + first, count - first, (float *)(void *)form->four, rows);
        use->rough_four(rows, total->single, d, along);
        for (ptrdiff_t one = 0; one < 4 && first + one < count; one++) {
            const ptrdiff_t place = (ptrdiff_t)places[first + one];
            out[place] = along[one] * GRID * form->scale[place];
        }
    }
}

/* Write the gradient in single precision, where it may be above a level; elsewhere what it is below at least. As the
 * products with one total are known, those with another differ by no more than its distance. */
static void roughly(struct form *form, const struct total *total, double sum, double ridge, double level)
{
    const ptrdiff_t n = form->pool.n, d = form->pool.rows.d;
    double *gradient = form->gradient, square = 0.0;
    ptrdiff_t count = n;
    if (level > -INFINITY && form->rough_error < INFINITY) {
        for (ptrdiff_t i = 0; i < d; i++)
            square += (total->sum[i] - form->reference[i]) * (total->sum[i] - form->reference[i]);
        const double off = GRID * sqrt(square) * (1.0 + ROUNDING) + form->rough_error;
        count = 0;
        for (ptrdiff_t place = 0; place < n; place++) {
            gradient[place] = by_cosine(form, sum, ridge, place, form->rough[place] - off);
            if (gradient[place] > level)
                form->places[count++] = place;
        }
    }
    if (count < n / 2) {
        products_of(form, total, form->places, count, form->ahead);
        for (ptrdiff_t one = 0; one < count; one++) {
            const ptrdiff_t place = (ptrdiff_t)form->places[one];
            gradient[place] = by_cosine(form, sum, ridge, place, form->ahead[place]);
        }
        return;
    }
    products_of(form, total, form->where, n, form->rough); /* in the order of memory */
    for (ptrdiff_t place = 0; place < n; place++)
        gradient[place] = by_cosine(form, sum, ridge, place, form->rough[place]);
    memcpy(form->reference, total->sum, sizeof(double) * (size_t)d);
    form->rough_error = total->error;
}

/* Write the places of the `count` largest entries of the gradient, descending, of equals the lowest place first: in
 * levels as `frank_wolfe.leveled`, or as they are. The gradient is exact there, and rough elsewhere. */
static void lead(struct form *form, const struct total *total, double sum, double ridge, int in_levels,
                 ptrdiff_t count, int64_t *leaders)
{
    const ptrdiff_t n = form->pool.n;
    ptrdiff_t number = 0;
    double level = -INFINITY;
    if (in_levels && form->rough_error < INFINITY && n > 8 * count) { /* those that led may lead again: a level to reach */
        for (ptrdiff_t place = 0; place < n; place++)
            form->gradient[place] = by_cosine(form, sum, ridge, place, form->rough[place]);
        largest(form->gradient, n, count, leaders);
        level = INFINITY;
        exactly(form, total, sum, ridge, leaders, count);
        for (ptrdiff_t at = 0; at < count; at++) {
            const double exact = form->gradient[leaders[at]];
            level = exact < level ? exact : level;
        }
    }
    roughly(form, total, sum, ridge, level);
    largest(form->gradient, n, count, leaders);
    const double rough = form->gradient[leaders[count - 1]];
    const double tied = in_levels ? ldexp(fabs(form->gradient[leaders[0]]), 2 - TIED) : 0.0; /* a level, or two */
    const double least = rough - 4.0 * form->pool.t * total->error - ROUNDING * fabs(rough) - tied;
    for (ptrdiff_t place = 0; place < n; place++)
        if (form->gradient[place] >= least)
            form->places[number++] = place;
    exactly(form, total, sum, ridge, form->places, number);
    for (ptrdiff_t at = 0; at < number; at++)
        form->keys[at] = form->gradient[form->places[at]];
    if (in_levels)
        leveled(form->keys, number, form->keys);
    largest(form->keys, number, count, leaders);
    for (ptrdiff_t at = 0; at < count; at++)
        leaders[at] = form->places[leaders[at]];
}

/* Write the sum of all rows, in units of the grid: it is exact. */
static void add_all(const struct form *form, int64_t *sums)
{
    const ptrdiff_t n = form->pool.n, d = form->pool.rows.d;
    memset(sums, 0, sizeof *sums * (size_t)d);
    for (ptrdiff_t place = 0; form->given->rows.type == DOUBLE && place < n; place++) {
        const int32_t *row = grid_of(form, place);
        for (ptrdiff_t i = 0; i < d; i++)
            sums[i] += row[i];
    }
    for (ptrdiff_t first = 0; form->given->rows.type != DOUBLE && first < n; first += 4) {
        const float *rows[4];
        double scales[4];
        four_singles(&form->single, form->where + first, n - first, (float *)(void *)form->four, rows);
        for (ptrdiff_t one = 0; one < 4; one++) /* in the order of memory */
            scales[one] = first + one < n ? form->scale[form->where[first + one]] : 0.0;
        use->add_on_grid(rows, scales, sums, d);
    }
}

/* CCBQP's Algorithm 1, as `frank_wolfe.ascend`; writes a set. */
static void ascend_from_even(struct form *form, int64_t *set)
{
    struct total *total = &form->total, *ahead = &form->other;
    const ptrdiff_t n = form->pool.n, k = form->pool.k, d = form->pool.rows.d;
    const double ridge = 2.0, twice = 2.0 * form->pool.t, sum = (double)k;
    double *x = form->x, *moved = form->keys;
    int64_t *sums = (int64_t *)(void *)ahead->sum;
    for (ptrdiff_t place = 0; place < n; place++)
        x[place] = (double)k / (double)n;
    add_all(form, sums);
    for (ptrdiff_t i = 0; i < d; i++)
        total->sum[i] = (double)sums[i] * ((double)k / (double)n / (GRID * GRID));
    for (int round = 0; round < STEPS; round++) {
        double ahead_of = 0.0, bend = 0.0;
        note_total(form, total);
        lead(form, total, sum, ridge, 1, k, set);
        for (ptrdiff_t at = 0; at < k; at++)
            ahead_of += form->gradient[set[at]];
        const double linear = product(form->linear, x, n);
        const double bent = twice * (ridge * product(x, x, n) + sum * sum - total->square);
        const double gap = ahead_of - linear - bent;
        form->steps++;
        if (gap <= STATIONARY * fabs(bent) + EXACT * fabs(linear))
            break;
        add_up(form, set, k, NULL, ahead);
        for (ptrdiff_t i = 0; i < d; i++)
            bend += (ahead->sum[i] - total->sum[i]) * (ahead->sum[i] - total->sum[i]);
        const double square = way_to(form, set, n, moved);
        step(form, gap, twice * (ridge * square - bend * GRID * GRID), set, moved, n, total->sum, ahead->sum, d);
    }
    round_off(form, n, set);
}

/* The most that an exchange gains of one of some outsiders, whose gradient is exact, for a member: more than `best`, or
 * else that. */
static double most_gained(struct form *form, const int64_t *set, const int64_t *places, ptrdiff_t count, double least,
                          double best)
{
    const double twice = 2.0 * form->pool.t;
    for (ptrdiff_t one = 0; one < count; one++)
        for (ptrdiff_t at = 0; at < form->pool.k; at++) {
            const ptrdiff_t place = (ptrdiff_t)places[one], member = (ptrdiff_t)set[at];
            const double more = form->gradient[place] - form->gradient[member];
            if (more <= least || more <= best)
                continue; /* distances are not negative */
            const double change = more - twice * apart(form, place, form->columns[member], member);
            best = change > best ? change : best;
        }
    return best;
}

/* The largest of some numbers, less a multiple of a column. */
static double most_beside(const double *numbers, const double *column, double multiple, ptrdiff_t n)
{
    double lanes[8], most = -INFINITY;
    ptrdiff_t at = 0;
    for (int lane = 0; lane < 8; lane++)
        lanes[lane] = -INFINITY;
    for (; at + 8 <= n; at += 8)
        for (int lane = 0; lane < 8; lane++) {
            const double number = numbers[at + lane] - multiple * column[at + lane];
            lanes[lane] = number > lanes[lane] ? number : lanes[lane];
        }
    for (; at < n; at++)
        most = numbers[at] - multiple * column[at] > most ? numbers[at] - multiple * column[at] : most;
    for (int lane = 0; lane < 8; lane++)
        most = lanes[lane] > most ? lanes[lane] : most;
    return most;
}

/* The most that an exchange gains of many outsiders for a member, by whole columns: for each member, and of all. */
static double most_of_each(struct form *form, const int64_t *set, const int64_t *places, ptrdiff_t count, double *each)
{
    double best = -INFINITY;
    for (ptrdiff_t place = 0; place < form->pool.n; place++)
        form->keys[place] = -INFINITY;
    for (ptrdiff_t one = 0; one < count; one++)
        form->keys[places[one]] = form->gradient[places[one]];
    for (ptrdiff_t at = 0; at < form->pool.k; at++) {
        each[at] = most_beside(form->keys, form->columns[set[at]], 2.0 * form->pool.t, form->pool.n)
            - form->gradient[set[at]];
        best = each[at] > best ? each[at] : best;
    }
    return best;
}

/* Best single exchanges to a local maximum, as `swap.polish`. 0 without memory. */
static int polish_by_total(struct form *form, int64_t *set)
{
    struct total *total = &form->total;
    const ptrdiff_t n = form->pool.n, k = form->pool.k, d = form->pool.rows.d;
    const ptrdiff_t front = k <= FEW ? 0 : n - k < FRONT ? n - k : FRONT;
    const double twice = 2.0 * form->pool.t;
    double *gradient = form->gradient, least = 0.0, tie = 0.0;
    memset(form->inside, 0, (size_t)n);
    for (ptrdiff_t at = 0; at < k; at++) {
        form->inside[set[at]] = 1;
        if (column_of(form, (ptrdiff_t)set[at]) == NULL)
            return 0;
    }
    add_up(form, set, k, NULL, total);
    for (int round = 0; round < EXCHANGES; round++) {
        double leaving = INFINITY, best = -INFINITY, spread = 0.0, size = 0.0, most = 0.0;
        ptrdiff_t comes = 0, slot = 0, close = 0, rivals = 0;
        exactly(form, total, (double)k, 0.0, set, k);
        for (ptrdiff_t at = 0; at < k; at++) {
            const double linear = form->linear[set[at]], exact = form->keys[at] = gradient[set[at]];
            leaving = exact < leaving ? exact : leaving;
            most = fabs(exact) > most ? fabs(exact) : most;
            spread = fabs(exact - linear) > spread ? fabs(exact - linear) : spread;
            size = fabs(linear) > size ? fabs(linear) : size;
        }
        const double hidden = PRECISION * spread + EXACT * size;
        least = hidden > least ? hidden : least;
        tie = round == 0 ? ldexp(most, -TIED) : tie;
        roughly(form, total, (double)k, 0.0, leaving + least);
        for (ptrdiff_t at = 0; front && at < k; at++)
            gradient[set[at]] = -INFINITY;
        if (front)
            largest(gradient, n, front, form->places); /* what these gain, few of the others can */
        exactly(form, total, (double)k, 0.0, form->places, front);
        for (ptrdiff_t at = 0; at < k; at++)
            gradient[set[at]] = form->keys[at];
        best = most_gained(form, set, form->places, front, least, best);
        const double reach = leaving + (best - tie > least ? best - tie : least);
        for (ptrdiff_t place = 0; place < n; place++)
            if (!form->inside[place] && gradient[place] + twice * total->error >= reach)
                form->places[close++] = place;
        exactly(form, total, (double)k, 0.0, form->places, close);
        for (ptrdiff_t at = 0; at < close; at++)
            if (gradient[form->places[at]] >= reach && gradient[form->places[at]] > leaving + least)
                form->places[rivals++] = form->places[at];
        double *each = form->sums; /* the most that is gained for each member, where that is known */
        for (ptrdiff_t at = 0; at < k; at++)
            each[at] = INFINITY;
        if (k <= FEW || rivals < n / MANY)
            best = most_gained(form, set, form->places, rivals, least, best);
        else if (fill(form, set, k))
            best = most_of_each(form, set, form->places, rivals, each);
        else
            return 0;
        if (!(best > least))
            break;
        int found = 0;
        for (ptrdiff_t rival = 0; rival < rivals && !found; rival++) /* the first of those that tie */
            for (ptrdiff_t at = 0; at < k && !found; at++) {
                const ptrdiff_t member = (ptrdiff_t)set[at];
                if (each[at] < best - tie)
                    continue;
                comes = (ptrdiff_t)form->places[rival];
                const double more = gradient[comes] - gradient[member];
                slot = at;
                found = more >= best - tie && more - twice * apart(form, comes, form->columns[member], member) >= best - tie;
            }
        if (column_of(form, comes) == NULL)
            return 0;
        use->add_grid(total->sum, grid_of(form, comes), 1.0 / (GRID * GRID), d); /* exact */
        use->add_grid(total->sum, grid_of(form, (ptrdiff_t)set[slot]), -1.0 / (GRID * GRID), d);
        note_total(form, total);
        if (front) { /* or many exchanges hold many columns */
            free(form->columns[set[slot]]);
            form->columns[set[slot]] = NULL;
            form->filled[set[slot]] = 0;
        }
        form->inside[set[slot]] = 0;
        form->inside[comes] = 1;
        set[slot] = comes;
        form->swaps++;
    }
    return 1;
}
