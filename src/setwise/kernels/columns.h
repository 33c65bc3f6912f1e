/* Frank-Wolfe and exchanges by columns of distances, for every sharpness above 1. Part of native.c.
 */

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

/* CCBQP's Algorithm 1, as `frank_wolfe.ascend`; writes a set, and whether `pulled` is W x for it. */
static int ascend(struct form *form, int64_t *set, int *is_pulled)
{
    const ptrdiff_t k = form->pool.k;
    const double twice = 2.0 * form->pool.t;
    double *x = form->x, *pulled = form->pulled, *ahead = form->ahead, *gradient = form->gradient, *moved = form->keys;
    ptrdiff_t n = form->pool.n;
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
        const double square = way_to(form, set, n, moved);
        const double bend = product(moved, ahead, n) - product(moved, pulled, n);
        step(form, gap, twice * (bend + square), set, moved, n, pulled, ahead, n);
    }
    round_off(form, n, set);
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
