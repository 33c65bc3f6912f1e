/* How far queries reach under regularized transport: as `_bisected` of matching.py, but every query's sums are followed
 * from one limit to the next in place of being written down. Part of native.c.
 */

/* Queries' neighbors, nearest first, and where their sums stand. */
struct queries {
    struct rows each, distances; /* weights, and distances, (M, L) */
    ptrdiff_t m, reach;
    int64_t *whole, *next_whole;   /* (M): neighbors inside */
    double *spent, *next_spent;    /* (M): their weights */
    double *paid, *next_paid;      /* (M): their weights times distances */
};

static const double *numbers_of(const struct rows *rows, ptrdiff_t row)
{
    return (const double *)(const void *)(rows->first + row * rows->step);
}

/* Follow all sums to a limit into `next_…`. Return the largest of them; say what reaching further costs, and whether
 * a query has no further neighbor. */
static double follow_to(struct queries *queries, double limit, double *cost, int *ran_out)
{
    double most = 0.0;
    *cost = 0.0;
    *ran_out = 0;
    for (ptrdiff_t i = 0; i < queries->m; i++) {
        const double *each = numbers_of(&queries->each, i), *distances = numbers_of(&queries->distances, i);
        double spent = queries->spent[i], paid = queries->paid[i];
        ptrdiff_t k = (ptrdiff_t)queries->whole[i];
        for (; k < queries->reach && spent + each[k] <= limit; k++) {
            spent += each[k];
            paid += each[k] * distances[k];
        }
        queries->next_whole[i] = k;
        queries->next_spent[i] = spent;
        queries->next_paid[i] = paid;
        if (k > 0)
            *cost += distances[k < queries->reach ? k : queries->reach - 1] * spent - paid;
        *ran_out |= k == queries->reach;
        most = spent > most ? spent : most;
    }
    return most;
}

/* Go on from where the sums were last followed to. */
static void settle(struct queries *queries)
{
    const size_t m = (size_t)queries->m;
    memcpy(queries->whole, queries->next_whole, m * sizeof *queries->whole);
    memcpy(queries->spent, queries->next_spent, m * sizeof *queries->spent);
    memcpy(queries->paid, queries->next_paid, m * sizeof *queries->paid);
}

/* The least that a query's first neighbors weigh. */
static double least_weight(const struct queries *queries, ptrdiff_t columns)
{
    double least = INFINITY;
    for (ptrdiff_t i = 0; i < queries->m; i++) {
        const double *each = numbers_of(&queries->each, i);
        double weight = 0.0;
        for (ptrdiff_t k = 0; k < columns; k++)
            weight += each[k];
        least = weight < least ? weight : least;
    }
    return least;
}

/* Return s*, the first sum past which it costs at least the bound; where the neighbors run out before, how far they
 * go, and `crossed` is 0. */
static double limit_of(struct queries *queries, double bound, int *crossed)
{
    double cost, high, low = 0.0, limit = least_weight(queries, queries->reach < 16 ? queries->reach : 16);
    int ran_out;
    *crossed = 1;
    for (;;) {
        high = follow_to(queries, limit, &cost, &ran_out);
        if (ran_out) {
            limit = least_weight(queries, queries->reach);
            high = follow_to(queries, nextafter(limit, 0.0), &cost, &ran_out);
            if (!(cost >= bound)) {
                *crossed = 0;
                return limit;
            }
        }
        if (cost >= bound)
            break;
        settle(queries);
        low = limit;
        limit *= 1.5;
        if (!(limit > 0.0 && limit < DBL_MAX)) { /* no weight is 0, or NaN */
            *crossed = 0;
            return limit;
        }
    }
    /* Bisection: at `low` it costs less than the bound, at `high`, one of the sums, it does not. */
    for (;;) {
        double next = INFINITY;
        for (ptrdiff_t i = 0; i < queries->m; i++)
            if (queries->whole[i] < queries->reach) {
                const double sum = queries->spent[i] + numbers_of(&queries->each, i)[queries->whole[i]];
                next = sum < next ? sum : next;
            }
        if (!(next < high))
            return high;
        limit = 0.5 * (low + high);
        limit = limit > next && limit < high ? limit : next;
        const double reached = follow_to(queries, limit, &cost, &ran_out);
        if (cost >= bound)
            high = reached;
        else {
            settle(queries);
            low = limit;
        }
    }
}

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
