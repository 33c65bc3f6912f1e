/* A pool's best set: its starts, polished, measured on the way and put in order. Part of native.c.
 */

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

/* Polish each of some starts and write the best set over the first; as `polished.best`. Sets are looked at once. */
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
 * k, or 0 where the set has yet to be put in order. From `given_starts` sets that are chosen already, where there are any,
 * rather than from Frank-Wolfe's. */
static ptrdiff_t search(struct form *form, const struct given *given, ptrdiff_t given_starts, int with_greedy,
                        int64_t *chosen, double *numbers)
{
    const ptrdiff_t n = form->pool.n, k = form->pool.k, first = given_starts ? given_starts : 1;
    const ptrdiff_t starts = first + (!with_greedy ? 0 : 1 < form->levels && form->levels <= n / 2 ? 2 : 1);
    int64_t *sets = malloc(sizeof(int64_t) * (size_t)((3 * starts + 2) * k));
    ptrdiff_t done = BARE;
    int is_pulled = 0;
    if (sets == NULL)
        goto done;
    for (ptrdiff_t at = 0; at < given_starts * k; at++)
        sets[at] = form->where[chosen[at]];
    if (given_starts == 0 && form->pool.power == 1)
        ascend_from_even(form, sets);
    else if (given_starts == 0 && !ascend(form, sets, &is_pulled))
        goto done;
    const ptrdiff_t near = form->near;
    if (starts > first && start_greedily(form, sets + first * k) < k)
        goto done;
    if (starts > first + 1) { /* the same candidates by row, which then breaks ties */
        struct pool pool = form->pool;
        int64_t *set = sets + (first + 1) * k;
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
    done = given_starts || has_equals(form, sets) ? 0 : arrange(form, given, chosen, numbers);
done:
    free(sets);
    return done;
}

/* Whether relevance alone proves that no candidate but k is in a set above the one found: as
 * `bounds.bound_at_sight`, where no distance is above 1. Rounding is the caller's; so much is left to it. */
static int is_proven(const struct form *form)
{
    const ptrdiff_t k = form->pool.k;
    double upper = form->pool.t * (double)(k * (k - 1));
    for (ptrdiff_t at = 0; at < k; at++)
        upper += form->linear[at]; /* they fall */
    return form->pool.power > 1
        && form->linear[k] < form->linear[k - 1] - (upper - form->value) - 1e-9 * (fabs(upper) + 1.0);
}

struct ranked {
    double relevance;
    int64_t at;
};

/* Which of two places, without a branch: that is hard to foresee. */
static inline ptrdiff_t either(ptrdiff_t one, ptrdiff_t other, int is_other)
{
    return one ^ ((one ^ other) & -(ptrdiff_t)is_other);
}

/* Sort by falling relevance, of equals the first first, by merging: runs of one length from both ends at once, as each
 * step waits for the one before. Both have an entry more; returns that of the two which is sorted. */
static struct ranked *by_falling(struct ranked *from, struct ranked *to, ptrdiff_t n)
{
    for (ptrdiff_t width = 1; width < n; width *= 2) {
        from[n] = from[0]; /* which may be read, and is not taken */
        for (ptrdiff_t start = 0; start < n; start += 2 * width) {
            const ptrdiff_t middle = start + width < n ? start + width : n;
            const ptrdiff_t end = middle + width < n ? middle + width : n;
            ptrdiff_t left = start, right = middle, last = middle - 1, least = end - 1;
            for (ptrdiff_t at = 0; end - middle == width && at < width; at++) {
                const int is_later = from[right].relevance > from[left].relevance;
                const int is_less = from[least].relevance > from[last].relevance;
                to[start + at] = from[either(left, right, is_later)];
                to[end - 1 - at] = from[either(least, last, is_less)];
                right += is_later;
                left += 1 - is_later;
                last -= is_less;
                least -= 1 - is_less;
            }
            for (ptrdiff_t at = start; end - middle < width && at < end; at++) {
                const int is_later
                    = (left == middle) | ((right < end) & (from[right].relevance > from[left].relevance));
                to[at] = from[either(left, right, is_later)];
                right += is_later;
                left += 1 - is_later;
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
        done = open_form(form, &given) ? search(form, &given, 0, with_greedy, chosen, numbers) : BARE;
        close_form(form);
    }
    free(order);
    free(squares);
    return done;
}
