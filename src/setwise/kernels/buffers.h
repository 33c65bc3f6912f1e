/* Python's arrays as buffers, checked for type and shape. Part of native.c.
 */

/* Rows of numbers: any step between rows, none within. */
struct rows {
    Py_buffer view;
    enum type type;
    const char *first;
    ptrdiff_t n, d, step;
};

static int open_rows(PyObject *array, struct rows *rows)
{
    if (PyObject_GetBuffer(array, &rows->view, PyBUF_STRIDES | PyBUF_FORMAT) < 0)
        return -1;
    const Py_buffer *view = &rows->view;
    const char *known = "efd", *found = strlen(view->format) == 1 ? strchr(known, view->format[0]) : NULL;
    if (found == NULL || view->ndim != 2 || (view->shape[1] > 1 && view->strides[1] != view->itemsize)
        || (uintptr_t)view->buf % (size_t)view->itemsize || view->strides[0] % view->itemsize) {
        PyBuffer_Release(&rows->view);
        PyErr_SetString(PyExc_ValueError, "rows: expected aligned floats (n, d), each row without gaps");
        return -1;
    }
    rows->type = (enum type)(found - known);
    rows->first = view->buf;
    rows->n = view->shape[0];
    rows->d = view->shape[1];
    rows->step = view->strides[0];
    return 0;
}

/* A vector without gaps, of a type and at least so many entries. None is a vector of none where it may be. */
static int open_vector(PyObject *array, Py_buffer *view, const char *type, ptrdiff_t least, int flags)
{
    view->obj = NULL;
    view->buf = NULL;
    if (array == Py_None)
        return 0;
    if (PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0)
        return -1;
    if (strlen(view->format) != 1 || strchr(type, view->format[0]) == NULL
        || view->itemsize != (type[0] == 'f' ? 4 : 8) || view->len < least * view->itemsize
        || (uintptr_t)view->buf % (size_t)view->itemsize) {
        PyBuffer_Release(view);
        PyErr_Format(PyExc_ValueError, "expected a vector of %zd numbers of type %s", least, type);
        return -1;
    }
    return 0;
}

static void close_all(struct rows *rows, Py_buffer *views, int count)
{
    for (int place = 0; place < count; place++)
        if (views[place].obj != NULL)
            PyBuffer_Release(&views[place]);
    PyBuffer_Release(&rows->view);
}
