/* The schemas as a commented configuration file. */
#include <string.h>

#include "base/conf_internal.h"

struct printer {
    void (*put)(void *arg, const char *text);
    void *arg;
};

static void print_item(const struct printer *p, const struct conf_item *item)
{
    char allowed[CONF_ALLOWED_MAX];
    const char *const parts[] = { "# ",
                                  item->help != NULL ? item->help : item->key,
                                  "\n# ",
                                  conf__allowed(item, allowed),
                                  item->def != NULL ? "; default:" : "; required",
                                  "\n#",
                                  item->key,
                                  " = ",
                                  item->def != NULL ? item->def : "",
                                  "\n\n" };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        p->put(p->arg, parts[i]);
}

/* All items of one table, whichever schema declares them: a file has each table once. */
static void print_table(const struct printer *p, const struct conf_item *const *schemas, size_t n,
                        const char *table)
{
    if (table[0] != '\0') {
        p->put(p->arg, "[");
        p->put(p->arg, table);
        p->put(p->arg, "]\n\n");
    }
    for (size_t i = 0; i < n; i++)
        for (const struct conf_item *item = schemas[i]; item->key != NULL; item++)
            if (strcmp(item->table, table) == 0)
                print_item(p, item);
}

/* True when an item before `at` names the same table. */
static bool is_printed(const struct conf_item *const *schemas, const struct conf_item *at)
{
    for (size_t i = 0;; i++) {
        for (const struct conf_item *item = schemas[i]; item->key != NULL; item++) {
            if (item == at)
                return false;
            if (strcmp(item->table, at->table) == 0)
                return true;
        }
    }
}

void conf_print_schema(void (*put)(void *arg, const char *text), void *arg,
                       const struct conf_item *const *schemas, size_t n)
{
    const struct printer p = { put, arg };
    print_table(&p, schemas, n, ""); /* the top level must come before the first table */
    for (size_t i = 0; i < n; i++)
        for (const struct conf_item *item = schemas[i]; item->key != NULL; item++)
            if (item->table[0] != '\0' && !is_printed(schemas, item))
                print_table(&p, schemas, n, item->table);
}
