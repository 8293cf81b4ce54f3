/* A look at one key before the schemas are all known. */
#include <string.h>

#include "base/conf_internal.h"

static void give(const struct conf_raw *v, void (*fn)(void *arg, const char *value), void *arg)
{
    if (v->kind == CONF_RAW_STRING)
        fn(arg, v->s);
    for (size_t i = 0; v->kind == CONF_RAW_ARRAY && i < v->n; i++)
        if (v->items[i].kind == CONF_RAW_STRING)
            fn(arg, v->items[i].s);
}

void conf_peek(const char *text, size_t len, const char *table, const char *key,
               void (*fn)(void *arg, const char *value), void *arg)
{
    struct conf_doc doc = { .blocks = NULL };
    struct conf_report quiet = { .file = "" };
    conf__parse(&doc, text != NULL ? text : "", len, &quiet);
    for (size_t i = 0; i < doc.n_entries; i++) {
        const struct conf_entry *e = &doc.entries[i];
        if (strcmp(e->table, table) == 0 && strcmp(e->key, key) == 0)
            give(&e->value, fn, arg);
    }
    conf__doc_fini(&doc);
}
