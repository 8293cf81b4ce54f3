/* The meaning half: a document held against schemas. Pass over the file first, in its order, then
 * over what it leaves out. */
#include "base/conf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/conf_internal.h"
#include "base/log_internal.h"

struct value {
    const struct conf_item *item;
    unsigned line;
    bool is_set;
    bool b;
    int64_t i;
    const char *s;
    const char **strs;
    size_t n_strs;
};

struct conf {
    struct conf_doc doc;
    struct value *values; /* one for each item of the schemas */
    size_t n;
};

/* ---- complaints ------------------------------------------------------------------------------ */

void conf__complain(struct conf_report *r, unsigned line, const char *fmt, ...)
{
    char raw[512], text[1024];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(raw, sizeof raw, fmt, ap) < 0)
        raw[0] = '\0';
    va_end(ap);
    log__clean(text, sizeof text, raw);
    if (r->n == 0 && line > 0)
        cyx_fail(r->err, CYX_EINVAL, "%s:%u: %s", r->file, line, text);
    else if (r->n == 0)
        cyx_fail(r->err, CYX_EINVAL, "%s: %s", r->file, text);
    if (r->n++ < CONF_ERRORS_MAX && r->fn != NULL)
        r->fn(r->arg, r->file, line, text);
}

/* A complaint about an item's value: "mesh.port: ..., want an integer from 1 to 65535". */
static void complain_item(struct conf_report *r, unsigned line, const struct conf_item *item,
                          const char *what)
{
    char allowed[CONF_ALLOWED_MAX];
    conf__complain(r, line, "%s%s%s: %s, want %s", item->table, item->table[0] != '\0' ? "." : "",
                   item->key, what, conf__allowed(item, allowed));
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool in_range(const struct conf_item *item, int64_t v)
{
    return (item->min == 0 && item->max == 0) || (v >= item->min && v <= item->max);
}

static bool run_check(struct conf_report *r, const struct value *v, const char *text)
{
    const struct conf_item *item = v->item;
    struct cyx_err err = { .code = 0 };
    if (item->check == NULL || v->line == 0 || item->check(text, &err) == 0)
        return true;
    conf__complain(r, v->line, "%s%s%s: %s", item->table, item->table[0] != '\0' ? "." : "",
                   item->key, err.msg);
    return false;
}

static bool wrong_kind(struct conf_report *r, const struct value *v, const struct conf_raw *raw)
{
    static const char *const kinds[] = {
        [CONF_RAW_BOOL] = "is a boolean",
        [CONF_RAW_INT] = "is an integer",
        [CONF_RAW_STRING] = "is a string",
        [CONF_RAW_ARRAY] = "is an array",
    };
    complain_item(r, v->line, v->item, kinds[raw->kind]);
    return false;
}

static bool set_bool(struct conf_report *r, struct value *v, const struct conf_raw *raw)
{
    if (raw->kind != CONF_RAW_BOOL)
        return wrong_kind(r, v, raw);
    v->b = raw->b;
    return run_check(r, v, v->b ? "true" : "false");
}

/* INT, SIZE and DURATION: an integer in the file, or a string with a unit. */
static bool set_number(struct conf_report *r, struct value *v, const struct conf_raw *raw)
{
    const enum conf_type type = v->item->type;
    char what[96];
    if (raw->kind == CONF_RAW_INT && type != CONF_DURATION)
        v->i = raw->i;
    else if (raw->kind != CONF_RAW_STRING || type == CONF_INT)
        return wrong_kind(r, v, raw);
    else if (!(type == CONF_SIZE ? conf__size : conf__duration)(raw->s, &v->i)) {
        snprintf(what, sizeof what, "\"%.48s\" is no %s", raw->s,
                 type == CONF_SIZE ? "number with KiB, MiB, GiB or TiB"
                                   : "number with ms, s, m, h or d");
        complain_item(r, v->line, v->item, what);
        return false;
    }
    if (!in_range(v->item, v->i) || (type != CONF_INT && v->i < 0)) {
        if (raw->kind == CONF_RAW_INT)
            snprintf(what, sizeof what, "%lld is out of range", (long long)v->i);
        else
            snprintf(what, sizeof what, "\"%.48s\" is out of range", raw->s);
        complain_item(r, v->line, v->item, what);
        return false;
    }
    snprintf(what, sizeof what, "%lld", (long long)v->i);
    return run_check(r, v, what);
}

/* One string, alone or in an array, against the list of words. */
static bool check_word(struct conf_report *r, const struct value *v, const char *s)
{
    char what[96];
    if (v->item->words == NULL || conf__word_in(v->item->words, s, strlen(s)))
        return run_check(r, v, s);
    snprintf(what, sizeof what, "\"%.64s\" is not allowed", s);
    complain_item(r, v->line, v->item, what);
    return false;
}

static bool set_string(struct conf_report *r, struct value *v, const struct conf_raw *raw)
{
    if (raw->kind != CONF_RAW_STRING)
        return wrong_kind(r, v, raw);
    if (v->item->words == NULL && !in_range(v->item, (int64_t)strlen(raw->s))) {
        char what[64];
        snprintf(what, sizeof what, "has %zu bytes", strlen(raw->s));
        complain_item(r, v->line, v->item, what);
        return false;
    }
    v->s = raw->s;
    return check_word(r, v, v->s);
}

static bool set_strings(struct conf_doc *d, struct conf_report *r, struct value *v,
                        const struct conf_raw *raw)
{
    char what[64];
    if (raw->kind != CONF_RAW_ARRAY)
        return wrong_kind(r, v, raw);
    if (!in_range(v->item, (int64_t)raw->n)) {
        snprintf(what, sizeof what, "has %zu strings", raw->n);
        complain_item(r, v->line, v->item, what);
        return false;
    }
    v->strs = conf__alloc(d, (raw->n + 1) * sizeof *v->strs);
    r->no_mem |= v->strs == NULL;
    for (size_t i = 0; i < raw->n && v->strs != NULL; i++) {
        if (raw->items[i].kind != CONF_RAW_STRING) {
            complain_item(r, v->line, v->item, "is an array of integers");
            return false;
        }
        if (!check_word(r, v, raw->items[i].s))
            return false;
        v->strs[v->n_strs++] = raw->items[i].s;
    }
    return v->strs != NULL;
}

static void set_value(struct conf *c, struct conf_report *r, struct value *v,
                      const struct conf_raw *raw)
{
    switch (v->item->type) {
    case CONF_BOOL:
        v->is_set = set_bool(r, v, raw);
        return;
    case CONF_INT:
    case CONF_SIZE:
    case CONF_DURATION:
        v->is_set = set_number(r, v, raw);
        return;
    case CONF_STRING:
        v->is_set = set_string(r, v, raw);
        return;
    case CONF_STRINGS:
        v->is_set = set_strings(&c->doc, r, v, raw);
        return;
    }
}

/* ---- passes ---------------------------------------------------------------------------------- */

static struct value *find(const struct conf *c, const char *table, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->values[i].item->key, key) == 0 &&
            strcmp(c->values[i].item->table, table) == 0)
            return &c->values[i];
    return NULL;
}

static bool is_table(const struct conf *c, const char *table)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->values[i].item->table, table) == 0)
            return true;
    return table[0] == '\0';
}

static void unknown_table(const struct conf *c, struct conf_report *r, const struct conf_section *s)
{
    struct conf_guess g = { .want = s->name };
    for (size_t i = 0; i < c->n; i++)
        conf__guess(&g, c->values[i].item->table);
    if (g.best != NULL)
        conf__complain(r, s->line, "[%s]: unknown table, did you mean [%s]?", s->name, g.best);
    else
        conf__complain(r, s->line, "[%s]: unknown table", s->name);
}

/* Names the nearest key of the same table, or the table where the key is known. */
static void unknown_key(const struct conf *c, struct conf_report *r, const struct conf_entry *e)
{
    struct conf_guess g = { .want = e->key };
    const struct conf_item *elsewhere = NULL;
    const char *dot = e->table[0] != '\0' ? "." : "";
    for (size_t i = 0; i < c->n; i++) {
        const struct conf_item *item = c->values[i].item;
        if (strcmp(item->table, e->table) == 0)
            conf__guess(&g, item->key);
        else if (strcmp(item->key, e->key) == 0)
            elsewhere = item;
    }
    if (g.best != NULL)
        conf__complain(r, e->line, "%s%s%s: unknown key, did you mean \"%s\"?", e->table, dot,
                       e->key, g.best);
    else if (elsewhere != NULL)
        conf__complain(r, e->line, "%s%s%s: unknown key here, it belongs %s%s%s", e->table, dot,
                       e->key, elsewhere->table[0] != '\0' ? "under [" : "above the first [table]",
                       elsewhere->table, elsewhere->table[0] != '\0' ? "]" : "");
    else
        conf__complain(r, e->line, "%s%s%s: unknown key", e->table, dot, e->key);
}

static void pass_over_file(struct conf *c, struct conf_report *r)
{
    for (size_t i = 0; i < c->doc.n_sections; i++)
        if (!is_table(c, c->doc.sections[i].name))
            unknown_table(c, r, &c->doc.sections[i]);
    for (size_t i = 0; i < c->doc.n_entries; i++) {
        const struct conf_entry *e = &c->doc.entries[i];
        struct value *v = find(c, e->table, e->key);
        if (v != NULL) {
            v->line = e->line;
            set_value(c, r, v, &e->value);
        } else if (is_table(c, e->table)) {
            unknown_key(c, r, e);
        }
    }
}

/* `is_whole`: every line of the file could be read, so what is not there is truly missing. */
static void pass_over_rest(struct conf *c, struct conf_report *r, bool is_whole)
{
    for (size_t i = 0; i < c->n; i++) {
        struct value *v = &c->values[i];
        struct conf_raw raw;
        if (v->is_set || v->line > 0)
            continue;
        if (v->item->def == NULL && is_whole)
            complain_item(r, 0, v->item, "missing");
        else if (v->item->def != NULL && conf__parse_default(&c->doc, v->item, &raw, r))
            set_value(c, r, v, &raw);
    }
}

static bool add_items(struct conf *c, const struct conf_item *const *schemas, size_t n,
                      struct conf_report *r)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        for (const struct conf_item *item = schemas[i]; item->key != NULL; item++)
            total++;
    c->values = calloc(total + 1, sizeof *c->values);
    if (c->values == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        for (const struct conf_item *item = schemas[i]; item->key != NULL; item++) {
            if (find(c, item->table, item->key) != NULL)
                conf__complain(r, 0, "%s.%s: two schemas declare this key", item->table, item->key);
            c->values[c->n++].item = item;
        }
    }
    return true;
}

static void cleanup_conf_fn(struct conf **c)
{
    conf_destroy(*c);
}

struct conf *conf_parse(const char *file, const char *text, size_t len,
                        const struct conf_item *const *schemas, size_t n, conf_complain_fn complain,
                        void *arg, struct cyx_err *err)
{
    struct conf_report r = { .file = file, .fn = complain, .arg = arg, .err = err };
    __attribute__((cleanup(cleanup_conf_fn))) struct conf *c = calloc(1, sizeof *c);
    if (c == NULL || !add_items(c, schemas, n, &r)) {
        cyx_fail(err, CYX_ENOMEM, "%s: no memory", file);
        return NULL;
    }
    conf__parse(&c->doc, text, len, &r);
    const bool is_whole = r.n == 0;
    pass_over_file(c, &r);
    pass_over_rest(c, &r, is_whole);
    if (r.no_mem) {
        cyx_fail(err, CYX_ENOMEM, "%s: no memory", file);
        return NULL;
    }
    return r.n == 0 ? steal(&c) : NULL;
}

struct conf *conf_load(const char *path, const struct conf_item *const *schemas, size_t n,
                       conf_complain_fn complain, void *arg, struct cyx_err *err)
{
    const size_t cap = CONF_FILE_MAX + 1; /* one more: to see that it is too long */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cyx_fail(err, errno == ENOENT ? CYX_ENOENT : CYX_EIO, "open %s: %s", path, strerror(errno));
        return NULL;
    }
    cleanup_free char *text = malloc(cap);
    if (text == NULL) {
        cyx_fail(err, CYX_ENOMEM, "%s: no memory", path);
        return NULL;
    }
    size_t len = 0;
    ssize_t got;
    do {
        got = read(fd, text + len, cap - len);
        len += got > 0 ? (size_t)got : 0;
    } while (len < cap && (got > 0 || (got < 0 && errno == EINTR)));
    if (got < 0) {
        cyx_fail(err, CYX_EIO, "read %s: %s", path, strerror(errno));
        return NULL;
    }
    return conf_parse(path, text, len, schemas, n, complain, arg, err);
}

void conf_destroy(struct conf *c)
{
    if (c == NULL)
        return;
    conf__doc_fini(&c->doc);
    free(c->values);
    free(c);
}

/* ---- access ---------------------------------------------------------------------------------- */

static const struct value *get(const struct conf *c, const char *table, const char *key)
{
    const struct value *v = find(c, table, key);
    assert(v != NULL);
    return v;
}

bool conf_bool(const struct conf *c, const char *table, const char *key)
{
    const struct value *v = get(c, table, key);
    assert(v->item->type == CONF_BOOL);
    return v->b;
}

int64_t conf_int(const struct conf *c, const char *table, const char *key)
{
    const struct value *v = get(c, table, key);
    assert(v->item->type == CONF_INT || v->item->type == CONF_SIZE ||
           v->item->type == CONF_DURATION);
    return v->i;
}

const char *conf_str(const struct conf *c, const char *table, const char *key)
{
    const struct value *v = get(c, table, key);
    assert(v->item->type == CONF_STRING);
    return v->s;
}

size_t conf_strs(const struct conf *c, const char *table, const char *key, const char *const **out)
{
    const struct value *v = get(c, table, key);
    assert(v->item->type == CONF_STRINGS);
    *out = (const char *const *)v->strs;
    return v->n_strs;
}

unsigned conf_line(const struct conf *c, const char *table, const char *key)
{
    return get(c, table, key)->line;
}
