/* Weighted k-medoids: greedy selection, best exchanges, and the bound by dual ascent, as in solvers/k_medoids without
 * constraints. Part of native.c. Sums over points go from the first to the last, as in NumPy: the same bits.
 */

/* As in stack.py, search.py and dual.py. */
#define EQUAL_SUMS 1e-12
#define LEAST_GAIN 1e-12
#define RELATIVE_GAIN 1e-14
#define PROVEN 1e-14
#define LOOK 5
#define LENGTH 1.5
#define PATIENCE 5
#define LOWEST (-1e300)
#define INERTIA 0.3

/* One problem, and room to work in. */
struct medoids {
    const double *cost; /* (n, m): of each point, by candidate */
    const double *own;  /* (m): of choosing a candidate; infinite where it may not be chosen */
    double size;        /* of the largest of those */
    ptrdiff_t n, m, k;
    double *least, *second, *prices, *best, *direction; /* (n) each */
    double *added, *joins;                              /* (m) each */
    double *change;                                     /* (k, m) */
    int64_t *first;                                     /* (n) */
    int64_t *set;                                       /* (k) */
};

/* Give a problem its room, of `*all` numbers and `*places` positions. */
static int open_medoids(struct medoids *problem, double **all, int64_t **places)
{
    const size_t n = (size_t)problem->n, m = (size_t)problem->m, k = (size_t)problem->k;
    double *at = *all = malloc(sizeof *at * (5 * n + (2 + k) * m));
    *places = malloc(sizeof **places * (n + k));
    if (at == NULL || *places == NULL)
        return 0;
    problem->least = at;
    problem->second = at + n;
    problem->prices = at + 2 * n;
    problem->best = at + 3 * n;
    problem->direction = at + 4 * n;
    problem->added = at + 5 * n;
    problem->joins = problem->added + m;
    problem->change = problem->joins + m;
    problem->first = *places;
    problem->set = *places + n;
    return 1;
}

/* Find the member that serves each point, what it costs, and what the second cheapest does; return their total. */
static double serve(struct medoids *problem, const int64_t *set)
{
    double total = 0.0;
    for (ptrdiff_t i = 0; i < problem->n; i++) {
        const double *row = problem->cost + i * problem->m;
        double least = row[set[0]], second = INFINITY;
        int64_t first = 0;
        for (ptrdiff_t member = 1; member < problem->k; member++) {
            const double cost = row[set[member]];
            if (cost < least) {
                second = least;
                least = cost;
                first = member;
            } else
                second = cost < second ? cost : second;
        }
        problem->least[i] = least;
        problem->second[i] = second;
        problem->first[i] = first;
        total += least;
    }
    return total;
}

/* Add to a set, of which some are given, the candidate that lowers the cost most, one by one. */
static void cover_greedily(struct medoids *problem, int64_t *set, ptrdiff_t given)
{
    const ptrdiff_t n = problem->n, m = problem->m;
    double *own = problem->joins, *added = problem->added;
    memcpy(own, problem->own, sizeof *own * (size_t)m);
    for (ptrdiff_t i = 0; i < n; i++)
        problem->least[i] = INFINITY;
    for (ptrdiff_t step = 0; step < problem->k; step++) {
        if (step >= given) {
            ptrdiff_t at = 0, pick = 0;
            use->least_sums(problem->cost, problem->least, n, m, added);
            for (ptrdiff_t j = 1; j < m; j++)
                at = added[j] + own[j] < added[at] + own[at] ? j : at;
            const double bar = added[at] + own[at] + EQUAL_SUMS * (problem->size + added[at]);
            while (pick + 1 < m && !(added[pick] + own[pick] <= bar))
                pick++;
            set[step] = pick;
        }
        own[set[step]] = INFINITY;
        for (ptrdiff_t i = 0; i < n; i++) {
            const double cost = problem->cost[i * m + set[step]];
            problem->least[i] = cost < problem->least[i] ? cost : problem->least[i];
        }
    }
}

/* Make best exchanges, at most so many; return how many were made. */
static ptrdiff_t exchange_medoids(struct medoids *problem, int64_t *set, ptrdiff_t most)
{
    const ptrdiff_t n = problem->n, m = problem->m, k = problem->k;
    double *joins = problem->joins, *change = problem->change;
    for (ptrdiff_t made = 0; made < most; made++) {
        double total = serve(problem, set), best = INFINITY;
        memset(joins, 0, sizeof *joins * (size_t)m);
        memset(change, 0, sizeof *change * (size_t)(k * m));
        for (ptrdiff_t i = 0; i < n; i++)
            use->exchanged(problem->cost + i * m, problem->least[i], problem->second[i], m, joins,
                           change + problem->first[i] * m);
        for (ptrdiff_t j = 0; j < m; j++)
            joins[j] = joins[j] - total + problem->own[j];
        for (ptrdiff_t member = 0; member < k; member++)
            joins[set[member]] = INFINITY;
        for (ptrdiff_t member = 0; member < k; member++) {
            double *row = change + member * m;
            for (ptrdiff_t j = 0; j < m; j++) {
                row[j] = row[j] - problem->own[set[member]] + joins[j];
                best = row[j] < best ? row[j] : best;
            }
        }
        /* As good as the best, but for rounding, and better than staying. */
        total += problem->size;
        const double least = RELATIVE_GAIN * total > LEAST_GAIN ? RELATIVE_GAIN * total : LEAST_GAIN;
        const double bar = best + EQUAL_SUMS * total < -least ? best + EQUAL_SUMS * total : -least;
        ptrdiff_t at = 0;
        while (at < k * m && !(change[at] <= bar))
            at++;
        if (at == k * m)
            return made;
        set[at / m] = at % m;
    }
    return most;
}

/* Find the k candidates of least terms, the least first, ties by position; return their sum. */
static double cheapest(struct medoids *problem, const double *terms)
{
    ptrdiff_t count = 0;
    double total = 0.0;
    for (ptrdiff_t j = 0; j < problem->m; j++) {
        if (count == problem->k && !(terms[j] < terms[problem->set[count - 1]]))
            continue;
        ptrdiff_t at = count < problem->k ? count++ : count - 1;
        for (; at > 0 && terms[j] < terms[problem->set[at - 1]]; at--)
            problem->set[at] = problem->set[at - 1];
        problem->set[at] = j;
    }
    for (ptrdiff_t member = 0; member < count; member++)
        total += terms[problem->set[member]];
    return total;
}

static double sum_of(const double *numbers, ptrdiff_t count)
{
    double total = 0.0;
    for (ptrdiff_t at = 0; at < count; at++)
        total += numbers[at];
    return total;
}

/* Whether a set is proven best at the best prices, given its cost and the bound. */
static int is_best(struct medoids *problem, const int64_t *set, double target, double lower)
{
    const double missing = target - lower, margin = PROVEN * fabs(target);
    double members = -INFINITY, others = INFINITY;
    if (missing <= margin)
        return 1;
    /* Exchanging a member for another candidate adds the difference of their terms to L at least. */
    use->least_sums(problem->cost, problem->best, problem->n, problem->m, problem->added);
    const double paid = sum_of(problem->best, problem->n);
    for (ptrdiff_t j = 0; j < problem->m; j++)
        problem->added[j] = problem->added[j] - paid + problem->own[j];
    for (ptrdiff_t member = 0; member < problem->k; member++) {
        const double term = problem->added[set[member]];
        members = term > members ? term : members;
    }
    for (ptrdiff_t member = 0; member < problem->k; member++)
        problem->added[set[member]] = INFINITY;
    for (ptrdiff_t j = 0; j < problem->m; j++)
        others = problem->added[j] < others ? problem->added[j] : others;
    return others - members > missing + margin;
}

/* What a step of dual ascent keeps up. */
struct ascent {
    double target, lower, length;
    int idle;
};

/* Take the bound at the prices, and move them: a step of `_Climb`. */
static void step_up(struct medoids *problem, struct ascent *state)
{
    const ptrdiff_t n = problem->n, m = problem->m, k = problem->k;
    double *prices = problem->prices, *direction = problem->direction, *added = problem->added;
    use->least_sums(problem->cost, prices, n, m, added);
    for (ptrdiff_t j = 0; j < m; j++)
        added[j] += problem->own[j];
    const double lower = cheapest(problem, added) - (double)(k - 1) * sum_of(prices, n);
    state->idle = lower > state->lower + 1e-4 * (state->target - state->lower) ? 0 : state->idle + 1;
    if (lower > state->lower) {
        state->lower = lower;
        memcpy(problem->best, prices, sizeof *prices * (size_t)n);
    }
    double square = 0.0;
    for (ptrdiff_t i = 0; i < n; i++) {
        int served = 0;
        /* `second` says whether a point counts. */
        for (ptrdiff_t member = 0; member < k; member++)
            served += problem->cost[i * m + problem->set[member]] < prices[i];
        direction[i] = direction[i] * INERTIA + (1.0 - served) * problem->second[i];
        square += direction[i] * direction[i];
    }
    const double missing = state->target - lower > 0.0 ? state->target - lower : 0.0;
    const double reach = state->length * missing / (square + 1e-300);
    for (ptrdiff_t i = 0; i < n; i++) {
        const double moved = prices[i] + reach * direction[i];
        prices[i] = moved > 0.0 ? moved : 0.0;
    }
    if (state->idle >= PATIENCE) {
        state->length *= 0.5;
        state->idle = 0;
        memcpy(prices, problem->best, sizeof *prices * (size_t)n);
        memset(direction, 0, sizeof *direction * (size_t)n);
    }
}

/* Bound the cost of any set from below; `prices` are where to start if they are given, and then what proves it. */
static double bound_cost(struct medoids *problem, const int64_t *set, ptrdiff_t steps, int given, double *prices)
{
    const ptrdiff_t n = problem->n, m = problem->m, k = problem->k;
    struct ascent state = {.lower = LOWEST, .length = LENGTH};
    double lower = -INFINITY, chosen = 0.0;
    state.target = serve(problem, set);
    for (ptrdiff_t member = 0; member < k; member++)
        chosen += problem->own[set[member]];
    state.target += chosen;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double *row = problem->cost + i * m;
        ptrdiff_t j = 0;
        if (!given)
            prices[i] = isinf(problem->second[i]) ? problem->least[i]
                                                  : 0.5 * (problem->least[i] + problem->second[i]);
        while (j < m && row[j] == 0.0)
            j++;
        problem->second[i] = j < m;
    }
    memcpy(problem->prices, prices, sizeof *prices * (size_t)n);
    memcpy(problem->best, prices, sizeof *prices * (size_t)n);
    memset(problem->direction, 0, sizeof *prices * (size_t)n);
    const double floor = cheapest(problem, problem->own);
    if (state.target - floor > PROVEN * fabs(state.target))
        for (ptrdiff_t step = 1; step <= steps; step++) {
            step_up(problem, &state);
            if (step % LOOK && step < steps)
                continue;
            lower = state.lower;
            if (is_best(problem, set, state.target, state.lower)) {
                lower = state.target;
                break;
            }
        }
    if (lower < floor) {
        memset(prices, 0, sizeof *prices * (size_t)n);
        lower = floor;
    } else
        memcpy(prices, problem->best, sizeof *prices * (size_t)n);
    return lower < state.target ? lower : state.target;
}

/* Below this part of the two squared lengths, the square of a distance is taken by differences: as in batches.py. */
#define SHORT 1e-6

/* Write the inner products (n, n) of some rows around the middle of those that are free, and the distances between these,
 * zero elsewhere. `room` has (n + 6, d) numbers. Return the largest square of a length, not finite where a row is not. */
static double distances_of(const struct rows *rows, const char *first, const double *free_, double *room,
                           double *products, double *distances)
{
    const ptrdiff_t n = rows->n, d = rows->d;
    double *middle = room + (n + 3) * d, *delta = middle + d, count = 0.0, most = 0.0;
    memset(room, 0, sizeof *room * (size_t)((n + 6) * d));
    for (ptrdiff_t i = 0; i < n; i++) {
        use->unit[rows->type](first + i * rows->step, room + i * d, 1.0, d);
        if (free_[i] != 0.0) {
            use->follow(middle, room + i * d, middle, NULL, d);
            count += 1.0;
        }
    }
    for (ptrdiff_t at = 0; at < d; at++)
        middle[at] /= -count;
    for (ptrdiff_t i = 0; i < n; i++)
        use->follow(room + i * d, middle, room + i * d, NULL, d);
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = i - i % 4; j < n; j += 4) {
            double four[4];
            use->four_double(room + i * d, room + j * d, d, four);
            for (ptrdiff_t at = j; at < n && at < j + 4; at++)
                products[i * n + at] = products[at * n + i] = four[at - j];
        }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double square = products[i * n + i];
        most = square <= most ? most : square == square ? square : INFINITY;
        for (ptrdiff_t j = 0; j < i; j++) {
            const double both = square + products[j * n + j];
            double apart = both - 2.0 * products[i * n + j];
            if (apart < SHORT * both) {
                for (ptrdiff_t at = 0; at < d; at++)
                    delta[at] = room[i * d + at] - room[j * d + at];
                apart = use->square[DOUBLE](delta, d);
            }
            apart = free_[i] != 0.0 && free_[j] != 0.0 && apart > 0.0 ? sqrt(apart) : 0.0;
            distances[i * n + j] = distances[j * n + i] = apart;
        }
        distances[i * n + i] = 0.0;
    }
    return most;
}

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
