#include "node/cli/show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mp.h"

/* Bytes of the UTF-8 character at `p` that a terminal must not get, 0 if it may have it. U+0080-9F,
 * U+061C, U+200E/F, U+2028-202E, U+2066-2069. */
static size_t unprintable(const uint8_t *p, size_t left)
{
    if (p[0] < 0x20 || p[0] == 0x7f)
        return 1;
    if (left >= 2 && ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xd8 && p[1] == 0x9c)))
        return 2;
    if (left < 3 || p[0] != 0xe2)
        return 0;
    const bool is_mark = p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f);
    const bool is_line = p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae;
    const bool is_isolate = p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
    return is_mark || is_line || is_isolate ? 3 : 0;
}

const char *show_clean(const char *s, size_t len, char *buf, size_t cap)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t out = 0;
    for (size_t at = 0; at < len && out + 1 < cap;) {
        size_t n = unprintable(p + at, len - at);
        buf[out++] = n > 0 ? '?' : s[at];
        at += n > 0 ? n : 1;
    }
    buf[out] = '\0';
    return buf;
}

const char *show_str(const msgpack_object *map, const char *key, char *buf, size_t cap)
{
    const char *s = "";
    size_t len = 0;
    mp_str(mp_get(map, key), &s, &len);
    return show_clean(s, len, buf, cap);
}

uint64_t show_u64(const msgpack_object *map, const char *key)
{
    uint64_t v = 0;
    mp_u64(mp_get(map, key), &v);
    return v;
}

double show_number(const msgpack_object *map, const char *key)
{
    const msgpack_object *o = mp_get(map, key);
    int64_t i = 0;
    if (o != NULL && (o->type == MSGPACK_OBJECT_FLOAT64 || o->type == MSGPACK_OBJECT_FLOAT32))
        return o->via.f64;
    return mp_i64(o, &i) ? (double)i : NAN;
}

bool show_bool(const msgpack_object *map, const char *key)
{
    bool v = false;
    mp_bool(mp_get(map, key), &v);
    return v;
}

const char *show_bytes(double n, char out[static SHOW_TEXT])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t u = 0;
    while (n >= 1024 && u + 1 < sizeof units / sizeof *units) {
        n /= 1024;
        u++;
    }
    snprintf(out, SHOW_TEXT, u == 0 ? "%.0f %s" : "%.1f %s", n, units[u]);
    return out;
}

const char *show_seconds(double s, char out[static SHOW_TEXT])
{
    if (isnan(s) || s < 0)
        snprintf(out, SHOW_TEXT, "-");
    else if (s < 0.001)
        snprintf(out, SHOW_TEXT, "%.0f us", s * 1e6);
    else if (s < 1)
        snprintf(out, SHOW_TEXT, "%.1f ms", s * 1e3);
    else if (s < 60)
        snprintf(out, SHOW_TEXT, "%.1f s", s);
    else if (s < 3600)
        snprintf(out, SHOW_TEXT, "%.0f min %.0f s", floor(s / 60), fmod(s, 60));
    else if (s < 86400)
        snprintf(out, SHOW_TEXT, "%.0f h %.0f min", floor(s / 3600), floor(fmod(s, 3600) / 60));
    else
        snprintf(out, SHOW_TEXT, "%.0f d %.0f h", floor(s / 86400), floor(fmod(s, 86400) / 3600));
    return out;
}

bool show_colour(FILE *to)
{
    const char *no = getenv("NO_COLOR");
    return (no == NULL || *no == '\0') && isatty(fileno(to)) == 1;
}

enum { TABLE_COLUMNS_MAX = 16 };

struct show_table {
    size_t n_columns, n_cells, cap;
    size_t widths[TABLE_COLUMNS_MAX];
    char **cells;
};

struct show_table *show_table_create(const char *const *titles, size_t n)
{
    struct show_table *t = n <= TABLE_COLUMNS_MAX ? calloc(1, sizeof *t) : NULL;
    if (t == NULL)
        return NULL;
    t->n_columns = n;
    for (size_t i = 0; i < n; i++)
        show_table_cell(t, titles[i]);
    return t;
}

/* Columns on a terminal: UTF-8 continuation bytes take no room. */
static size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void show_table_cell(struct show_table *t, const char *text)
{
    if (t == NULL)
        return;
    if (t->n_cells == t->cap) {
        size_t cap = t->cap > 0 ? 2 * t->cap : 64;
        char **grown = reallocarray(t->cells, cap, sizeof *grown);
        if (grown == NULL)
            return;
        t->cells = grown;
        t->cap = cap;
    }
    char *copy = strdup(text);
    if (copy == NULL)
        return;
    size_t width = text_width(copy), column = t->n_cells % t->n_columns;
    if (width > t->widths[column])
        t->widths[column] = width;
    t->cells[t->n_cells++] = copy;
}

void show_table_print(struct show_table *t, FILE *to)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t column = i % t->n_columns;
        bool is_last = column + 1 == t->n_columns;
        size_t pad = is_last ? 0 : t->widths[column] - text_width(t->cells[i]) + 2;
        fprintf(to, "%s%*s%s", t->cells[i], (int)pad, "", is_last ? "\n" : "");
    }
}

void show_table_destroy(struct show_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}
