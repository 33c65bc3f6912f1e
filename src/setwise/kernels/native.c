/* The compiled kernels: rows measured and scanned, and selection among small pools.
 *
 * Arrays come as buffers and are checked for type and shape; what they hold has been checked by the caller. All
 * arithmetic is the same on every processor, and in double precision but for what only screens or scans.
 * setwise.kernels says what each function does; the NumPy code beside it is their definition. The headers are parts
 * of this one file, each an idea, in the order in which they rest on each other.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "double precision is not what sums are rounded to here"
#endif

#define LANES 8

#include "instructions.h"
#include "buffers.h"
#include "pool.h"
#include "greedy.h"
#include "form.h"
#include "columns.h"
#include "screened.h"
#include "search.h"
#include "relaxation.h"
#include "medoids.h"
#include "transport.h"

static PyObject *measure(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *array, *vectors[3];
    struct rows rows;
    Py_buffer views[3];
    if (!PyArg_ParseTuple(args, "OOOO", &array, &vectors[0], &vectors[1], &vectors[2])
        || open_rows(array, &rows) < 0)
        return NULL;
    const ptrdiff_t lengths[3] = {rows.n, rows.d, rows.n};
    for (int place = 0; place < 3; place++)
        if (open_vector(vectors[place], &views[place], "d", lengths[place], place == 1 ? 0 : PyBUF_WRITABLE)
            < 0) {
            close_all(&rows, views, place);
            return NULL;
        }
    double *squares = views[0].buf, *scores = views[2].buf;
    const double *query = views[1].buf;
    double least = INFINITY, most = 0.0;
    Py_BEGIN_ALLOW_THREADS
    if (query == NULL || scores == NULL)
        use->squares[rows.type](rows.first, rows.step, rows.n, rows.d, squares);
    else
        for (ptrdiff_t row = 0; row < rows.n; row++) {
            scores[row] = use->both[rows.type](rows.first + row * rows.step, query, rows.d, squares + row);
            scores[row] *= 1.0 / sqrt(squares[row]);
        }
    for (ptrdiff_t row = 0; row < rows.n; row++) {
        double square = squares[row];
        if (square != square)
            square = INFINITY;
        least = square < least ? square : least;
        most = square > most ? square : most;
    }
    Py_END_ALLOW_THREADS
    close_all(&rows, views, 3);
    return Py_BuildValue("dd", least, most);
}

static PyObject *scan(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *array, *vectors[2];
    struct rows rows;
    Py_buffer views[2];
    if (!PyArg_ParseTuple(args, "OOO", &array, &vectors[0], &vectors[1]) || open_rows(array, &rows) < 0)
        return NULL;
    for (int place = 0; place < 2; place++)
        if (open_vector(vectors[place], &views[place], "f", place == 0 ? rows.d : rows.n, place ? PyBUF_WRITABLE : 0)
            < 0) {
            close_all(&rows, views, place);
            return NULL;
        }
    if (rows.type != HALF || views[0].buf == NULL || views[1].buf == NULL)
        PyErr_SetString(PyExc_ValueError, "scan: expected rows of half precision, and vectors of single precision");
    else {
        Py_BEGIN_ALLOW_THREADS
        use->scan_half(rows.first, rows.step, rows.n, views[0].buf, rows.d, views[1].buf);
        Py_END_ALLOW_THREADS
    }
    close_all(&rows, views, 2);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *span(PyObject *module, PyObject *array)
{
    (void)module;
    Py_buffer view;
    double least = INFINITY, most = -INFINITY;
    if (array == Py_None || open_vector(array, &view, "d", 1, 0) < 0)
        return array == Py_None ? PyErr_Format(PyExc_TypeError, "span: expected numbers") : NULL;
    const double *numbers = view.buf;
    for (ptrdiff_t at = 0; at < view.len / 8; at++) {
        least = numbers[at] < least ? numbers[at] : least;
        most = numbers[at] > most ? numbers[at] : most;
        if (isnan(numbers[at])) {
            least = most = NAN;
            break;
        }
    }
    PyBuffer_Release(&view);
    return Py_BuildValue("dd", least, most);
}

/* Whether pools cut rows from the first to the last, each of at least k. */
static int are_cuts(const int64_t *cuts, ptrdiff_t count, ptrdiff_t n, ptrdiff_t k)
{
    for (ptrdiff_t at = 0; at < count; at++)
        if (cuts[at + 1] - cuts[at] < k)
            return 0;
    return cuts[0] == 0 && cuts[count] == n;
}

enum { KEPT, SQUARES, QUERIES, GROUPS, CUTS, RELEVANCE, CHOSEN, COUNTS, NUMBERS, VECTORS };

static PyObject *greedy(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *array, *vectors[VECTORS];
    struct pool pool = {0};
    Py_buffer views[VECTORS];
    Py_ssize_t given, k, found = 0;
    int objective;
    long long quota;
    if (!PyArg_ParseTuple(args, "OOO(dd)OOOLidinOOnOO", &array, &vectors[KEPT], &vectors[SQUARES], &pool.least,
                          &pool.most, &vectors[QUERIES], &vectors[RELEVANCE], &vectors[GROUPS], &quota, &objective,
                          &pool.t, &pool.power, &k, &vectors[CUTS], &vectors[CHOSEN], &given, &vectors[COUNTS],
                          &vectors[NUMBERS])
        || open_rows(array, &pool.rows) < 0)
        return NULL;
    for (int place = 0; place < VECTORS; place++) {
        const char *type
            = place == SQUARES || place == QUERIES || place == RELEVANCE || place == NUMBERS ? "d" : "lq";
        const int written = place > RELEVANCE || (place == RELEVANCE && vectors[QUERIES] != Py_None);
        if (open_vector(vectors[place], &views[place], type, 0, written ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&pool.rows, views, place);
            return NULL;
        }
    }
    const struct pool all = pool;
    const ptrdiff_t n = views[RELEVANCE].len / 8, count = views[COUNTS].len / 8;
    const int64_t one[2] = {0, n};
    const int64_t *kept = views[KEPT].buf, *groups = views[GROUPS].buf;
    const int64_t *cuts = views[CUTS].buf == NULL ? one : views[CUTS].buf;
    const double *squares = views[SQUARES].buf, *queries = views[QUERIES].buf;
    double *relevance = views[RELEVANCE].buf;
    int64_t *chosen = views[CHOSEN].buf, *counts = views[COUNTS].buf;
    double *numbers = views[NUMBERS].buf;
    if (relevance == NULL || chosen == NULL || counts == NULL || numbers == NULL
        || (squares != NULL && views[SQUARES].len != n * 8)
        || (queries != NULL && views[QUERIES].len != count * pool.rows.d * 8) || k < 1 || count < 1
        || (cuts == one ? count > 1 : views[CUTS].len != (count + 1) * 8)
        || views[CHOSEN].len != count * k * 8 || views[NUMBERS].len != count * k * 8 || !are_cuts(cuts, count, n, k)
        || given < 0 || given > k || (given > 0 && count > 1) || !are_below(chosen, given, n)
        || objective < MAX_SUM || objective > LOG_DET || pool.power < 1
        || (kept == NULL ? pool.rows.n != n
                         : count > 1 || squares == NULL || views[KEPT].len != n * 8 || !are_below(kept, n, pool.rows.n))
        || (groups != NULL && (views[GROUPS].len != n * 8 || !are_below(groups, n, pool.rows.n)))) {
        PyErr_SetString(PyExc_ValueError, "greedy: the vectors do not belong to the rows");
    } else {
        Py_BEGIN_ALLOW_THREADS
        pool.objective = (enum objective)objective;
        pool.quota = quota;
        pool.kept = kept;
        pool.k = k;
        for (ptrdiff_t at = 0; at < count && found != BARE; at++) {
            const ptrdiff_t start = (ptrdiff_t)cuts[at];
            pool.n = (ptrdiff_t)cuts[at + 1] - start;
            pool.rows.first = all.rows.first + start * all.rows.step;
            pool.squares = squares == NULL ? NULL : squares + start;
            pool.query = queries == NULL ? NULL : queries + at * pool.rows.d;
            pool.relevance = relevance + start;
            pool.codes = groups == NULL ? NULL : groups + start;
            found = counts[at] = select_greedily(&pool, chosen + at * k, given, numbers + at * k);
        }
        Py_END_ALLOW_THREADS
        if (found == BARE)
            PyErr_NoMemory();
    }
    close_all(&pool.rows, views, VECTORS);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static int is_sharpness(int power)
{
    return power == 1 || (power > 1 && power % 2 == 0);
}

static PyObject *exchange(PyObject *module, PyObject *args)
{
    (void)module;
    enum { KEPT, QUERY, ORDER, SQUARES, RELEVANCE, CHOSEN, NUMBERS, IDS, WEIGHTS, GRADIENT, VECTORS };
    PyObject *array, *vectors[VECTORS];
    Py_buffer views[VECTORS];
    struct given given = {0};
    struct pool pool = {0};
    struct form form = {0};
    struct point point = {0};
    struct proof proof = {0};
    struct effort effort;
    int measured, known, with_greedy;
    Py_ssize_t starts;
    ptrdiff_t done = 0;
    if (!PyArg_ParseTuple(args, "OOp(dd)OOOOdipnpOO(iidd)nOOO", &array, &vectors[KEPT], &measured, &pool.least, &pool.most,
                          &vectors[QUERY], &vectors[ORDER], &vectors[SQUARES], &vectors[RELEVANCE], &form.pool.t,
                          &form.pool.power, &known, &starts, &with_greedy, &vectors[CHOSEN], &vectors[NUMBERS],
                          &effort.rounds, &effort.leaders, &effort.tolerance, &effort.margin, &point.count,
                          &vectors[IDS], &vectors[WEIGHTS], &vectors[GRADIENT])
        || open_rows(array, &given.rows) < 0)
        return NULL;
    for (int place = 0; place < VECTORS; place++) {
        const char *type = place == KEPT || place == ORDER || place == CHOSEN || place == IDS ? "lq" : "d";
        const int written = place >= CHOSEN || (!measured && (place == ORDER || place == SQUARES))
            || (place == RELEVANCE && vectors[QUERY] != Py_None);
        if (open_vector(vectors[place], &views[place], type, 0, written ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&given.rows, views, place);
            return NULL;
        }
    }
    int64_t *chosen = views[CHOSEN].buf, *ids = views[IDS].buf;
    double *weights = views[WEIGHTS].buf, *gradient = views[GRADIENT].buf;
    given.kept = views[KEPT].buf;
    given.order = views[ORDER].buf;
    given.squares = views[SQUARES].buf;
    given.relevance = views[RELEVANCE].buf;
    form.pool.objective = MAX_SUM;
    if (given.order == NULL || given.squares == NULL || given.relevance == NULL || chosen == NULL
        || views[NUMBERS].buf == NULL
        || (effort.rounds > 0 && (ids == NULL || weights == NULL || gradient == NULL))) {
        PyErr_SetString(PyExc_ValueError, "exchange: a vector is missing");
        close_all(&given.rows, views, VECTORS);
        return NULL;
    }
    const ptrdiff_t n = form.pool.n = views[ORDER].len / 8, k = form.pool.k = views[NUMBERS].len / 8;
    const ptrdiff_t sets = starts > 0 ? starts : 1;
    pool.rows = given.rows;
    pool.n = n;
    pool.query = views[QUERY].buf;
    pool.relevance = views[RELEVANCE].buf;
    if (views[SQUARES].len != n * 8 || views[RELEVANCE].len != n * 8 || k < 1 || k >= n
        || starts < 0 || views[CHOSEN].len != sets * k * 8
        || !is_sharpness(form.pool.power) || (measured ? !are_below(given.order, n, n) : given.kept != NULL)
        || (pool.query != NULL && (measured || views[QUERY].len != given.rows.d * 8))
        || ((known || starts) && !are_below(chosen, sets * k, n))
        || (given.kept == NULL ? given.rows.n != n
                               : views[KEPT].len != n * 8 || !are_below(given.kept, n, given.rows.n))
        || (effort.rounds > 0
            && (views[IDS].len != n * 8 || views[WEIGHTS].len != n * 8 || views[GRADIENT].len != n * 8
                || point.count < 0 || point.count > n || !are_below(ids, point.count, n))))
        PyErr_SetString(PyExc_ValueError, "exchange: the vectors do not belong to the rows");
    else {
        Py_BEGIN_ALLOW_THREADS
        if (!measured)
            done = measure_and_rank(&pool, views[SQUARES].buf, views[ORDER].buf);
        if (done == 0 && !open_form(&form, &given))
            done = BARE;
        else if (done == 0)
            done = known ? 0 : search(&form, &given, starts, with_greedy, chosen, views[NUMBERS].buf);
        if (done >= 0 && effort.rounds > 0 && !known && is_proven(&form)) { /* no point, but what relevance proves it by */
            for (ptrdiff_t at = 0; at < k; at++)
                proof.ahead += form.linear[at];
            proof.linear = form.linear[k];
            proof.threshold = form.linear[k - 1];
        } else if (done >= 0 && effort.rounds > 0) {
            point.local = ids;
            point.weights = weights;
            point.gradient = gradient;
            if (!bound_from(&form, &given, chosen, &effort, &point, &proof))
                done = BARE;
        }
        close_form(&form);
        Py_END_ALLOW_THREADS
        if (done == BARE)
            PyErr_NoMemory();
    }
    close_all(&given.rows, views, VECTORS);
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("nnnndddd(dddi)", (Py_ssize_t)done, (Py_ssize_t)form.steps, (Py_ssize_t)form.swaps,
                         (Py_ssize_t)point.count, proof.along, proof.linear, proof.ahead, proof.threshold, form.value,
                         point.value, point.bound, point.rounds);
}

static PyObject *exchange_each(PyObject *module, PyObject *args)
{
    (void)module;
    enum { QUERIES, CUTS, RELEVANCE, CHOSEN, COUNTS, NUMBERS, WORK, VECTORS };
    PyObject *array, *vectors[VECTORS];
    Py_buffer views[VECTORS];
    struct pool pool = {0};
    Py_ssize_t k, found = 0;
    int with_greedy;
    if (!PyArg_ParseTuple(args, "O(dd)OOOdipnOOOO", &array, &pool.least, &pool.most, &vectors[QUERIES], &vectors[CUTS],
                          &vectors[RELEVANCE], &pool.t, &pool.power, &with_greedy, &k, &vectors[CHOSEN],
                          &vectors[COUNTS],
                          &vectors[NUMBERS], &vectors[WORK])
        || open_rows(array, &pool.rows) < 0)
        return NULL;
    for (int place = 0; place < VECTORS; place++) {
        const char *type = place == QUERIES || place == RELEVANCE || place == NUMBERS ? "d" : "lq";
        const int written = place > RELEVANCE || (place == RELEVANCE && vectors[QUERIES] != Py_None);
        if (open_vector(vectors[place], &views[place], type, 0, written ? PyBUF_WRITABLE : 0) < 0) {
            close_all(&pool.rows, views, place);
            return NULL;
        }
    }
    const char *first = pool.rows.first;
    const ptrdiff_t n = pool.rows.n, d = pool.rows.d, count = views[COUNTS].len / 8;
    const int64_t *cuts = views[CUTS].buf;
    const double *queries = views[QUERIES].buf;
    double *relevance = views[RELEVANCE].buf, *numbers = views[NUMBERS].buf;
    int64_t *chosen = views[CHOSEN].buf, *counts = views[COUNTS].buf, *work = views[WORK].buf;
    if (cuts == NULL || relevance == NULL || chosen == NULL || counts == NULL || numbers == NULL || work == NULL
        || pool.rows.type == DOUBLE || k < 1 || count < 1 || !is_sharpness(pool.power) || views[RELEVANCE].len != n * 8
        || views[CUTS].len != (count + 1) * 8 || (queries != NULL && views[QUERIES].len != count * d * 8)
        || views[CHOSEN].len != count * k * 8 || views[NUMBERS].len != count * k * 8 || views[WORK].len != count * 16
        || !are_cuts(cuts, count, n, k + 1)) {
        PyErr_SetString(PyExc_ValueError, "exchange_each: the vectors do not belong to the rows");
    } else {
        Py_BEGIN_ALLOW_THREADS
        pool.k = k;
        for (ptrdiff_t at = 0; at < count && found != BARE; at++) {
            const ptrdiff_t start = (ptrdiff_t)cuts[at];
            struct form form = {0};
            pool.n = (ptrdiff_t)cuts[at + 1] - start;
            pool.rows.first = first + start * pool.rows.step;
            pool.query = queries == NULL ? NULL : queries + at * d;
            pool.relevance = relevance + start;
            found = counts[at] = search_pool(&form, &pool, with_greedy, chosen + at * k, numbers + at * k);
            work[2 * at] = form.steps;
            work[2 * at + 1] = form.swaps;
        }
        Py_END_ALLOW_THREADS
        if (found == BARE)
            PyErr_NoMemory();
    }
    close_all(&pool.rows, views, VECTORS);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *instructions(PyObject *module, PyObject *name)
{
    (void)module;
    for (size_t place = 0; place < sizeof SETS / sizeof *SETS; place++)
        if (runs_here(place)
            && (name == Py_None || PyUnicode_CompareWithASCIIString(name, SETS[place].name) == 0)) {
            use = SETS[place].kernels;
            return PyUnicode_FromString(SETS[place].name);
        }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"instructions", instructions, METH_O,
     "Use an instruction set by name, or the widest for None; return its name, None where it does not run here."},
    {"measure", measure, METH_VARARGS, "measure(rows, squares, query or None, cosines or None)"},
    {"scan", scan, METH_VARARGS, "scan(rows of halves, vector of singles, products)"},
    {"span", span, METH_O, "Return the least and the largest of some numbers, both NaN where one is."},
    {"greedy", greedy, METH_VARARGS,
     "greedy(rows, kept, squares, range, queries, relevance, groups, quota, objective, diversity, sharpness, k, cuts, chosen, given, "
     "counts, numbers)"},
    {"exchange", exchange, METH_VARARGS,
     "exchange(rows, kept, measured, range, query, order, squares, relevance, diversity, sharpness, known, starts, with_greedy, chosen, "
     "numbers, (rounds, leaders, tolerance, margin), count, ids, weights, gradient)"},
    {"exchange_each", exchange_each, METH_VARARGS,
     "exchange_each(rows, range, queries, cuts, relevance, diversity, sharpness, with_greedy, k, chosen, counts, "
     "numbers, work)"},
    {"distances", distances, METH_VARARGS, "distances(rows, count, free, products, distances)"},
    {"medoids", medoids, METH_VARARGS,
     "medoids(task, cost, own, sizes, places, k, number, prices or None, given, lower or None)"},
    {"transport", transport, METH_VARARGS, "transport(each, distances, reach, bound, limit or -1, whole, spent)"},
    {NULL, NULL, 0, NULL},
};

/* What the functions take and mean, as setwise.kernels.INTERFACE: both grow whenever that changes. */
#define INTERFACE 3

static int fill_module(PyObject *module)
{
    return PyModule_AddIntMacro(module, INTERFACE);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)fill_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "setwise.kernels._native", "The compiled kernels; see setwise.kernels.", 0, methods, slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
