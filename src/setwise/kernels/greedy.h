/* Greedy selection from a pool, lazily: as greedy.py and log_det.py. Part of native.c.
 */

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
    if (pool->rows.type == DOUBLE)
        use->follow(NULL, row, NULL, room, pool->rows.d);
    else
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

/* Write four candidates' rows in single precision, of those from the first on; past the last the first stands. */
static void four_singles(const struct pool *pool, const int64_t *places, ptrdiff_t count, float *room,
                         const float *rows[4])
{
    for (ptrdiff_t one = 0; one < 4; one++)
        rows[one] = one < count ? single_of(pool, (ptrdiff_t)places[one], room + one * pool->rows.d) : rows[0];
}

/* Bring the bounds of some candidates' scores up to date with all members; return what the largest score surely is. */
static double screen(const struct pool *pool, struct state *state, const int64_t *places, ptrdiff_t number)
{
    const ptrdiff_t d = pool->rows.d, count = state->count;
    const struct pool *single = pool->single == NULL ? pool : pool->single;
    const double *scale = pool->single == NULL ? state->scale : pool->inverse, part = 1.0 / (double)count;
    float *room = state->singles + (pool->k + 1) * d, along[4];
    double most = -INFINITY;
    for (ptrdiff_t first = 0; pool->objective == MAX_SUM && first < number; first += 4) {
        const float *rows[4];
        four_singles(single, places + first, number - first, room, rows);
        use->rough_four(rows, state->singles + count * d, d, along);
        for (ptrdiff_t one = 0; one < 4 && first + one < number; one++) {
            const ptrdiff_t place = (ptrdiff_t)places[first + one];
            note_cosine(pool, state, place, count - 1, along[one] * scale[place]);
            bound_one(pool, state, place, part);
        }
    }
    for (ptrdiff_t at = 0; pool->objective == MMR && at < number; at++) {
        const ptrdiff_t place = (ptrdiff_t)places[at];
        const float *row = single_of(single, place, room);
        for (ptrdiff_t seen = (ptrdiff_t)state->seen[place]; seen < count; seen++)
            note_cosine(pool, state, place, seen, use->rough(row, state->singles + (seen + 1) * d, d) * scale[place]);
        bound_one(pool, state, place, part);
    }
    for (ptrdiff_t at = 0; at < number; at++)
        most = state->upper[places[at]] > most ? state->upper[places[at]] : most;
    return most - 2.0 * pool->t * state->error - ROUNDING;
}

/* Measure all rows in single precision, together with their cosine to the first member. Returns whether all are well
 * within the range of squares that are fine. */
static int screen_all(const struct pool *pool, struct state *state)
{
    const ptrdiff_t d = pool->rows.d;
    const double least = 1e8 * pool->least, most = pool->most / 2.0;
    float along[4], squares[4];
    for (ptrdiff_t first = 0; first < pool->n; first += 4) {
        const int64_t places[4] = {first, first + 1, first + 2, first + 3};
        const float *rows[4];
        four_singles(pool, places, pool->n - first, state->singles + (pool->k + 1) * d, rows);
        use->rough_both(rows, state->singles + d, d, along, squares);
        for (ptrdiff_t one = 0; one < 4 && first + one < pool->n; one++) {
            const ptrdiff_t place = first + one;
            if (!(squares[one] > least && squares[one] < most))
                return 0;
            if (state->exact[place] == UNMEASURED)
                state->scale[place] = 1.0F / sqrtf(squares[one]);
            note_cosine(pool, state, place, 0, along[one] * state->scale[place]);
            bound_one(pool, state, place, 1.0);
        }
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
    if (seen == 0 || state->looked[seen])
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

/* What ties with a score, or is above it; any that may be chosen where there is none. */
static double least_of(double score)
{
    return score == -INFINITY ? -DBL_MAX : score - TIE * (1.0 + fabs(score));
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
        for (ptrdiff_t place = 0; place < pool->n; place++)
            if (lead[place] >= least_of(best))
                return place;
        return -1;
    }
    int64_t *rivals = state->rivals;
    ptrdiff_t number = 1, screened = 1;
    rivals[0] = bound_all(pool, state);
    double surely = state->screened ? screen(pool, state, rivals, 1) : refresh(pool, state, (ptrdiff_t)rivals[0]);
    double least = least_of(surely);
    for (ptrdiff_t place = 0; place < pool->n; place++) {
        if (!(state->bounds[place] >= least) || place == rivals[0])
            continue;
        if (state->totals != NULL) {
            const ptrdiff_t seen = (ptrdiff_t)state->seen[place];
            measure_rise(pool, state, seen);
            if (state->upper[place] + state->rise[seen] < least)
                continue;
        }
        rivals[number++] = place;
        if (state->screened && number == screened + 4) {
            surely = screen(pool, state, rivals + screened, 4);
            least = least_of(surely) > least ? least_of(surely) : least;
            screened = number;
        }
    }
    if (state->screened)
        screen(pool, state, rivals + screened, number - screened);
    for (ptrdiff_t at = 0; at < number; at++) {
        const ptrdiff_t place = (ptrdiff_t)rivals[at];
        if ((state->screened ? state->upper : state->bounds)[place] < least)
            continue;
        const double score = state->exact[place] < state->count ? refresh(pool, state, place) : state->upper[place];
        if (score > best) {
            best = score;
            least = least_of(best) > least ? least_of(best) : least;
        }
    }
    ptrdiff_t first = -1; /* of those that tie with the best */
    for (ptrdiff_t at = 0; at < number; at++)
        if (state->exact[rivals[at]] == state->count && state->upper[rivals[at]] >= least_of(best)
            && (first < 0 || rivals[at] < first))
            first = (ptrdiff_t)rivals[at];
    return first;
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
    float *singles = screened ? malloc(sizeof(float) * (size_t)((k + 5) * d)) : NULL;
    int64_t *counts = calloc((size_t)(4 * n + pool->rows.n), sizeof(int64_t));
    struct state state = {.columns = columns, .singles = singles, .chosen = chosen, .seen = counts,
                          .exact = counts + n, .closest = counts + 2 * n, .rivals = counts + 3 * n, .held = counts + 4 * n,
                          .screened = screened,
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
