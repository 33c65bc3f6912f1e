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

/* Have a candidate's row in cache by the time that it is read. */
static void fetch(const struct form *form, ptrdiff_t place)
{
#ifdef __GNUC__
    const char *row = row_of(&form->single, place);
    for (ptrdiff_t at = 0; at < 4 * form->single.rows.d; at += 64)
        __builtin_prefetch(row + at);
#else
    (void)form;
    (void)place;
#endif
}

/* Write the products of some candidates' rows of unit length with a vector, in single precision. */
static void along_single(const struct form *form, const float *vector, const int64_t *places, ptrdiff_t count,
                         double *out)
{
    const ptrdiff_t d = form->pool.rows.d;
    for (ptrdiff_t first = 0; first < count; first += 4) {
        const float *rows[4];
        float along[4];
        four_singles(&form->single, places + first, count - first, (float *)(void *)form->four, rows);
        for (ptrdiff_t next = first + 4; next < first + 8 && next < count; next++)
            fetch(form, (ptrdiff_t)places[next]);
        use->rough_four(rows, vector, d, along);
        for (ptrdiff_t one = 0; one < 4 && first + one < count; one++) {
            const ptrdiff_t place = (ptrdiff_t)places[first + one];
            out[place] = along[one] * form->scale[place];
        }
    }
}

static void products_of(const struct form *form, const struct total *total, const int64_t *places, ptrdiff_t count,
                        double *out)
{
    along_single(form, total->single, places, count, out);
    for (ptrdiff_t one = 0; one < count; one++)
        out[places[one]] *= GRID;
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

/* An exchange that is looked for. Below a floor, what it gains in single precision does not matter. */
struct exchange {
    const int64_t *set;
    float *members; /* (k, d), in single precision */
    double *gains;  /* (k) */
    double error;   /* of a gain there */
    double leaving, least, tie, best; /* the least gradient inside; what must be gained; the most that is, there */
    ptrdiff_t comes, slot;
};

/* How far a distance in single precision may be off: as a cosine, and by the grid of two rows. */
static double apart_error(ptrdiff_t d)
{
    return rough_error(d) + (sqrt((double)d) / 4.0 + 4.0) * (double)FLT_EPSILON / 2.0;
}

static double floor_of(const struct exchange *exchange)
{
    const double most = exchange->best > exchange->least ? exchange->best : exchange->least;
    return most - exchange->tie - 3.0 * exchange->error;
}

/* Make room for a member's distances in single precision. 0 without memory. */
static int open_member(struct form *form, const struct exchange *exchange, ptrdiff_t slot)
{
    const ptrdiff_t n = form->pool.n, d = form->pool.rows.d, member = (ptrdiff_t)exchange->set[slot];
    float *row = exchange->members + slot * d, *near = form->near_to[member];
    const float *single = single_of(&form->single, member, row);
    for (ptrdiff_t i = 0; i < d; i++)
        row[i] = (float)(single[i] * form->scale[member]);
    if (near == NULL && (near = form->near_to[member] = malloc(sizeof *near * (size_t)n)) != NULL)
        for (ptrdiff_t place = 0; place < n; place++)
            near[place] = NAN;
    return near != NULL;
}

/* Look at what is gained in single precision where some outsiders come for members, of some. No distance is negative. */
static void look_at(struct form *form, struct exchange *exchange, const int64_t *places, ptrdiff_t count,
                    const int64_t *slots, ptrdiff_t members)
{
    const ptrdiff_t d = form->pool.rows.d;
    const double twice = 2.0 * form->pool.t;
    double floor = floor_of(exchange);
    for (ptrdiff_t one = 0; one < count; one++) {
        const ptrdiff_t place = (ptrdiff_t)places[one];
        const double gradient = form->gradient[place];
        const float *row = NULL, *rows[4];
        ptrdiff_t missing[4];
        int size = 0;
        if (gradient - exchange->leaving < floor)
            continue;
        if (one + 1 < count)
            fetch(form, (ptrdiff_t)places[one + 1]);
        for (ptrdiff_t at = 0; at < members; at++) {
            const ptrdiff_t slot = (ptrdiff_t)slots[at], member = (ptrdiff_t)exchange->set[slot];
            if (isnan(form->near_to[member][place]) && gradient - form->gradient[member] >= floor) {
                rows[size] = exchange->members + slot * d;
                missing[size++] = member;
            } else {
                const double gain = gradient - form->gradient[member] - twice * (1.0 - form->near_to[member][place]);
                exchange->best = gain > exchange->best ? gain : exchange->best;
            }
            if (size == 0 || (size < 4 && at < members - 1))
                continue;
            float along[4];
            if (row == NULL)
                row = single_of(&form->single, place, (float *)(void *)form->four);
            if (size == 4)
                use->rough_four(rows, row, d, along);
            for (int other = 0; other < size; other++) {
                if (size < 4)
                    along[other] = use->rough(rows[other], row, d);
                const double cosine = along[other] * form->scale[place];
                const double gain = gradient - form->gradient[missing[other]] - twice * (1.0 - cosine);
                form->near_to[missing[other]][place] = (float)cosine;
                exchange->best = gain > exchange->best ? gain : exchange->best;
            }
            floor = floor_of(exchange);
            size = 0;
        }
    }
}

/* Write what is yet unknown of a member's cosines in single precision, to outsiders that may gain what matters, or some of
 * it, or else would be asked for soon: and where those are most of them, to all. */
static void complete(struct form *form, const struct exchange *exchange, ptrdiff_t slot, double level)
{
    const ptrdiff_t n = form->pool.n, member = (ptrdiff_t)exchange->set[slot];
    const float *row = exchange->members + slot * form->pool.rows.d;
    float *near = form->near_to[member];
    ptrdiff_t count = 0, open = 0;
    level = (level > 0.0 ? ASKED * level : level) + form->gradient[member];
    for (ptrdiff_t place = 0; place < n; place++) {
        form->places[count] = place;
        open += isnan(near[place]);
        count += isnan(near[place]) && form->keys[place] >= level;
    }
    if (2 * count > open) {
        count = 0;
        for (ptrdiff_t place = 0; place < n; place++)
            if (isnan(near[place]))
                form->places[count++] = place;
    }
    along_single(form, row, form->places, count, form->ahead);
    for (ptrdiff_t one = 0; one < count; one++)
        near[form->places[one]] = (float)form->ahead[form->places[one]];
}

/* The most that is gained, where it is known, by the leaving of a member, and of what is not a bound. `keys` has the
 * gradient of outsiders, and -inf for members. */
static double most_by(struct form *form, struct exchange *exchange, ptrdiff_t slot, double *unknown)
{
    const ptrdiff_t member = (ptrdiff_t)exchange->set[slot];
    double most = use->most_left(form->keys, form->near_to[member], 2.0 * form->pool.t, form->pool.n, unknown);
    most -= form->gradient[member];
    *unknown -= form->gradient[member];
    exchange->best = most > exchange->best ? most : exchange->best;
    return most;
}

/* Look at all outsiders: at few by rows, and at many by columns. Write the members by whose leaving enough may be gained,
 * and where in the pool those are who may come; both return how many. */
static ptrdiff_t look_at_all(struct form *form, struct exchange *exchange, int is_first, int64_t *slots, ptrdiff_t *number)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k;
    ptrdiff_t count = 0, members = 0;
    double unknown;
    for (ptrdiff_t place = 0; place < n; place++)
        if (form->keys[place] - exchange->leaving >= floor_of(exchange))
            form->places[count++] = place;
    const int are_many = count > n / MANY;
    for (ptrdiff_t at = 0; at < k; at++) {
        unknown = INFINITY;
        if (are_many && !is_first)
            exchange->gains[at] = most_by(form, exchange, at, &unknown);
        if (unknown >= floor_of(exchange))
            slots[members++] = at;
    }
    if (is_first || !are_many || members <= FEW)
        look_at(form, exchange, form->places, count, slots, members);
    else
        for (ptrdiff_t at = 0; at < members; at++)
            complete(form, exchange, (ptrdiff_t)slots[at], floor_of(exchange));
    for (ptrdiff_t at = 0; are_many && at < members; at++)
        exchange->gains[slots[at]] = most_by(form, exchange, (ptrdiff_t)slots[at], &unknown);
    members = 0;
    const double floor = floor_of(exchange);
    for (ptrdiff_t at = 0; at < k; at++)
        if (!are_many || exchange->gains[at] >= floor)
            slots[members++] = at;
    *number = 0;
    for (ptrdiff_t place = 0; place < n; place++)
        if (form->keys[place] - exchange->leaving >= floor)
            form->places[(*number)++] = place;
    return members;
}

/* Find the best exchange: of those that tie the first. What it gains, in double precision. */
static double best_exchange(struct form *form, struct exchange *exchange, int is_first, int64_t *slots)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k, d = form->pool.rows.d;
    const double twice = 2.0 * form->pool.t;
    double best = -INFINITY, *row = form->four;
    ptrdiff_t count;
    const ptrdiff_t members = look_at_all(form, exchange, is_first, slots, &count);
    const double floor = floor_of(exchange);
    exchange->comes = n;
    memset(form->inside, 0, (size_t)n); /* whose gradient is exact */
    for (int is_last = 0; is_last < 2; is_last++) /* the most that is gained, then who gains it */
        for (ptrdiff_t at = 0; at < members; at++) {
            const ptrdiff_t slot = (ptrdiff_t)slots[at], member = (ptrdiff_t)exchange->set[slot];
            int is_written = 0;
            for (ptrdiff_t one = 0; one < count; one++) {
                const ptrdiff_t place = (ptrdiff_t)form->places[one];
                const double cosine = form->near_to[member][place];
                if (!(form->keys[place] - form->gradient[member] - twice * (1.0 - cosine) >= floor))
                    continue; /* or it is yet unknown, and cannot matter */
                if (is_last && place >= exchange->comes)
                    break;
                if (!form->inside[place])
                    exactly(form, &form->total, (double)k, 0.0, form->places + one, 1);
                form->inside[place] = 1;
                if (!(form->gradient[place] > exchange->leaving + exchange->least))
                    continue;
                if (!is_written)
                    use->unit[GRIDDED](grid_of(form, member), row, 1.0 / (GRID * GRID), d);
                is_written = 1;
                const double apart = between(form, place, member, use->dot[GRIDDED](grid_of(form, place), row, d));
                const double gain = form->gradient[place] - form->gradient[member] - twice * apart;
                if (!is_last)
                    best = gain > best ? gain : best;
                else if (gain >= best - exchange->tie) {
                    exchange->comes = place;
                    exchange->slot = slot;
                }
            }
        }
    return best;
}

/* Best single exchanges to a local maximum, as `swap.polish`. 0 without memory. */
static int polish_by_total(struct form *form, int64_t *set)
{
    struct total *total = &form->total;
    const ptrdiff_t n = form->pool.n, k = form->pool.k, d = form->pool.rows.d;
    const ptrdiff_t front = n - k < FRONT ? n - k : FRONT;
    const double twice = 2.0 * form->pool.t;
    double *gradient = form->gradient;
    int done = 0;
    int64_t *slots = malloc(sizeof *slots * (size_t)k);
    struct exchange exchange = {.set = set, .members = malloc(sizeof(float) * (size_t)(k * d)),
                                .gains = malloc(sizeof(double) * (size_t)k)};
    if (slots == NULL || exchange.members == NULL || exchange.gains == NULL)
        goto done;
    for (ptrdiff_t at = 0; at < k; at++)
        if (!open_member(form, &exchange, at))
            goto done;
    add_up(form, set, k, NULL, total);
    for (int round = 0; round < EXCHANGES; round++) {
        double spread = 0.0, size = 0.0, most = 0.0;
        exchange.leaving = INFINITY;
        exchange.best = -INFINITY;
        exchange.error = twice * (total->error + apart_error(d));
        exactly(form, total, (double)k, 0.0, set, k);
        for (ptrdiff_t at = 0; at < k; at++) {
            const double linear = form->linear[set[at]], exact = form->sums[at] = gradient[set[at]];
            exchange.leaving = exact < exchange.leaving ? exact : exchange.leaving;
            most = fabs(exact) > most ? fabs(exact) : most;
            spread = fabs(exact - linear) > spread ? fabs(exact - linear) : spread;
            size = fabs(linear) > size ? fabs(linear) : size;
        }
        const double hidden = PRECISION * spread + EXACT * size;
        exchange.least = hidden > exchange.least ? hidden : exchange.least;
        exchange.tie = round == 0 ? ldexp(most, -TIED) : exchange.tie;
        roughly(form, total, (double)k, 0.0, exchange.leaving + floor_of(&exchange));
        memcpy(form->keys, gradient, sizeof *gradient * (size_t)n);
        for (ptrdiff_t at = 0; at < k; at++) {
            gradient[set[at]] = form->sums[at];
            form->keys[set[at]] = -INFINITY;
            slots[at] = at;
        }
        largest(form->keys, n, front, form->places); /* what these gain, few of the others can */
        look_at(form, &exchange, form->places, front, slots, k);
        if (!(best_exchange(form, &exchange, round == 0, slots) > exchange.least))
            break;
        const ptrdiff_t comes = exchange.comes, goes = (ptrdiff_t)set[exchange.slot];
        use->add_grid(total->sum, grid_of(form, comes), 1.0 / (GRID * GRID), d); /* exact */
        use->add_grid(total->sum, grid_of(form, goes), -1.0 / (GRID * GRID), d);
        note_total(form, total);
        if (k > FEW || n > BROAD) { /* many exchanges would hold much */
            free(form->near_to[goes]);
            form->near_to[goes] = NULL;
        }
        set[exchange.slot] = comes;
        form->swaps++;
        if (!open_member(form, &exchange, exchange.slot))
            goto done;
    }
    done = 1;
done:
    free(slots);
    free(exchange.members);
    free(exchange.gains);
    return done;
}
