/* The syntax half: text to a document. After a complaint the parser goes on behind the end of the
 * line, so that one look at the list repairs the whole file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_internal.h"
#include "base/text_internal.h"

/* ---- the document's memory ------------------------------------------------------------------- */

struct conf_block {
    struct conf_block *next;
    max_align_t bytes[];
};

void *conf__alloc(struct conf_doc *d, size_t n)
{
    if (n > CONF_FILE_MAX * sizeof(struct conf_raw)) /* no caller needs more */
        return NULL;
    struct conf_block *b = calloc(1, sizeof *b + n);
    if (b == NULL)
        return NULL;
    b->next = d->blocks;
    d->blocks = b;
    return b->bytes;
}

void conf__doc_fini(struct conf_doc *d)
{
    while (d->blocks != NULL) {
        struct conf_block *b = d->blocks;
        d->blocks = b->next;
        free(b);
    }
    *d = (struct conf_doc){ .blocks = NULL };
}

void *conf__parser_alloc(struct conf_parser *s, size_t n)
{
    void *p = conf__alloc(s->doc, n);
    if (p == NULL)
        s->r->no_mem = true;
    return p;
}

/* ---- characters ------------------------------------------------------------------------------ */

char conf__peek(const struct conf_parser *s)
{
    return s->p == s->end ? '\0' : *s->p;
}

bool conf__starts(const struct conf_parser *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, prefix, n) == 0;
}

bool conf__at_newline(const struct conf_parser *s)
{
    return conf__peek(s) == '\n' || conf__starts(s, "\r\n");
}

void conf__skip_newline(struct conf_parser *s)
{
    s->p += conf__peek(s) == '\r' ? 2 : 1;
    s->line++;
}

void conf__skip_blanks(struct conf_parser *s)
{
    while (conf__peek(s) == ' ' || conf__peek(s) == '\t')
        s->p++;
}

bool conf__skip_comment(struct conf_parser *s)
{
    if (conf__peek(s) != '#')
        return true;
    while (s->p < s->end && !conf__at_newline(s)) {
        unsigned char c = (unsigned char)*s->p;
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            conf__complain(s->r, s->line, "control character 0x%02x in a comment", c);
            return false;
        }
        s->p++;
    }
    return true;
}

static void skip_line(struct conf_parser *s)
{
    while (s->p < s->end && *s->p != '\n')
        s->p++;
    if (s->p < s->end)
        conf__skip_newline(s);
}

/* Blanks, a comment, the end of the line: nothing else may follow a header or a value. */
static bool end_of_line(struct conf_parser *s)
{
    conf__skip_blanks(s);
    if (!conf__skip_comment(s))
        return false;
    if (s->p == s->end)
        return true;
    if (!conf__at_newline(s)) {
        conf__complain(s->r, s->line, "more text than expected at the end of the line");
        return false;
    }
    conf__skip_newline(s);
    return true;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* A name of bare characters, and of single dots between them when `dots` says so. NULL with a
 * complaint. */
static const char *name(struct conf_parser *s, const char *what, const char *dots)
{
    const char *start = s->p;
    bool was_dot = true;
    while (is_bare(conf__peek(s)) || (!was_dot && conf__peek(s) == *dots && *dots != '\0')) {
        was_dot = conf__peek(s) == *dots;
        s->p++;
    }
    size_t n = (size_t)(s->p - start);
    if (n == 0 || was_dot) {
        conf__complain(s->r, s->line, "want %s of letters, digits, - and _", what);
        return NULL;
    }
    if (n > CONF_WORD_MAX) {
        conf__complain(s->r, s->line, "%s of more than %d bytes", what, CONF_WORD_MAX);
        return NULL;
    }
    char *copy = conf__parser_alloc(s, n + 1);
    if (copy != NULL)
        memcpy(copy, start, n);
    return copy;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Room for one more item of `size` bytes in a row that doubles when it is full. */
static bool grow(struct conf_parser *s, void **row, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    if (n >= CONF_KEYS_MAX) {
        conf__complain(s->r, s->line, "more than %d keys or tables in one file", CONF_KEYS_MAX);
        s->p = s->end;
        return false;
    }
    size_t more = *cap == 0 ? 16 : 2 * *cap;
    void *to = conf__parser_alloc(s, more * size);
    if (to == NULL)
        return false;
    if (n > 0)
        memcpy(to, *row, n * size);
    *row = to;
    *cap = more;
    return true;
}

static bool add_section(struct conf_parser *s, const char *table, unsigned at)
{
    struct conf_doc *d = s->doc;
    void *row = d->sections;
    for (size_t i = 0; i < d->n_sections; i++) {
        if (strcmp(d->sections[i].name, table) != 0)
            continue;
        conf__complain(s->r, at, "[%s]: this table stands on line %u already", table,
                       d->sections[i].line);
        s->table = table; /* its keys are judged all the same */
        return true;
    }
    if (!grow(s, &row, d->n_sections, &d->cap_sections, sizeof *d->sections))
        return false;
    d->sections = row;
    d->sections[d->n_sections++] = (struct conf_section){ table, at };
    s->table = table;
    return true;
}

static bool table_line(struct conf_parser *s)
{
    const unsigned at = s->line;
    s->table = NULL;
    if (conf__starts(s, "[[")) {
        conf__complain(s->r, s->line, "arrays of tables are not supported: write [one table]");
        return false;
    }
    s->p++;
    conf__skip_blanks(s);
    const char *table = name(s, "a table's name", ".");
    if (table == NULL)
        return false;
    conf__skip_blanks(s);
    if (conf__peek(s) != ']') {
        conf__complain(s->r, s->line, "[%s: want ] behind the table's name", table);
        return false;
    }
    s->p++;
    return end_of_line(s) && add_section(s, table, at);
}

static bool add_entry(struct conf_parser *s, const struct conf_entry *e)
{
    struct conf_doc *d = s->doc;
    void *row = d->entries;
    for (size_t i = 0; i < d->n_entries; i++) {
        const struct conf_entry *o = &d->entries[i];
        if (strcmp(o->key, e->key) != 0 || strcmp(o->table, e->table) != 0)
            continue;
        conf__complain(s->r, e->line, "%s%s%s: set twice, first on line %u", e->table,
                       e->table[0] != '\0' ? "." : "", e->key, o->line);
        return true;
    }
    if (!grow(s, &row, d->n_entries, &d->cap_entries, sizeof *d->entries))
        return false;
    d->entries = row;
    d->entries[d->n_entries++] = *e;
    return true;
}

/* "mesh.listen", as complaints name a key. */
static const char *full_name(struct conf_parser *s, const char *key)
{
    if (s->table == NULL || s->table[0] == '\0')
        return key;
    size_t n = strlen(s->table), k = strlen(key);
    char *full = conf__parser_alloc(s, n + 1 + k + 1);
    if (full == NULL)
        return key;
    memcpy(full, s->table, n);
    full[n] = '.';
    memcpy(full + n + 1, key, k);
    return full;
}

static bool key_line(struct conf_parser *s)
{
    struct conf_entry e = { .table = s->table, .line = s->line };
    if (conf__peek(s) == '"' || conf__peek(s) == '\'') {
        conf__complain(s->r, s->line, "quoted keys are not supported");
        return false;
    }
    e.key = name(s, "a key", "");
    if (e.key == NULL)
        return false;
    conf__skip_blanks(s);
    if (conf__peek(s) != '=') {
        conf__complain(s->r, s->line,
                       conf__peek(s) == '.' ? "%s: dotted keys are not supported: write the "
                                              "key under its [table]"
                                            : "%s: want = behind the key",
                       full_name(s, e.key));
        return false;
    }
    s->p++;
    conf__skip_blanks(s);
    if (!conf__value(s, full_name(s, e.key), &e.value) || !end_of_line(s))
        return false;
    return e.table == NULL || add_entry(s, &e);
}

static bool line(struct conf_parser *s)
{
    conf__skip_blanks(s);
    if (conf__peek(s) == '[')
        return table_line(s);
    if (conf__peek(s) == '#' || conf__at_newline(s) || s->p == s->end)
        return end_of_line(s);
    return key_line(s);
}

/* NUL bytes and bytes that are no UTF-8 are looked for first: the rest need not care. */
static bool check_bytes(const char *text, size_t len, struct conf_report *r)
{
    const uint8_t *p = (const uint8_t *)text;
    unsigned at = 1;
    if (len > CONF_FILE_MAX) {
        conf__complain(r, 0, "longer than %d bytes", CONF_FILE_MAX);
        return false;
    }
    while (len > 0) {
        size_t n = base__utf8_char(p, len, NULL);
        if (n == 0 || *p == 0) {
            conf__complain(r, at, n == 0 ? "byte 0x%02x is not UTF-8" : "byte 0x%02x (NUL)", *p);
            return false;
        }
        at += *p == '\n' ? 1 : 0;
        p += n;
        len -= n;
    }
    return true;
}

void conf__parse(struct conf_doc *d, const char *text, size_t len, struct conf_report *r)
{
    struct conf_parser s = {
        .p = text, .end = text + len, .line = 1, .doc = d, .r = r, .table = ""
    };
    if (!check_bytes(text, len, r))
        return;
    while (s.p < s.end && !r->no_mem) {
        if (!line(&s))
            skip_line(&s);
    }
}

bool conf__parse_default(struct conf_doc *d, const struct conf_item *item, struct conf_raw *out,
                         struct conf_report *r)
{
    const char *text = item->def;
    struct conf_parser s = {
        .p = text, .end = text + strlen(text), .line = 0, .doc = d, .r = r, .table = ""
    };
    return check_bytes(text, strlen(text), r) && conf__value(&s, item->key, out) && end_of_line(&s);
}
