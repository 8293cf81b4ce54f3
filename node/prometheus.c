#include "node/prometheus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct prometheus_group {
    char name[128];
    msgpack_sbuffer text;
};

/* Where lines go until the group's end. */
struct line {
    struct prometheus *p;
    msgpack_sbuffer *to;
};

void prometheus_init(struct prometheus *p)
{
    *p = (struct prometheus){ .is_full = false };
    msgpack_sbuffer_init(&p->text);
}

void prometheus_fini(struct prometheus *p)
{
    for (size_t i = 0; i < p->n_groups; i++)
        msgpack_sbuffer_destroy(&p->groups[i].text);
    free(p->groups);
    msgpack_sbuffer_destroy(&p->text);
    *p = (struct prometheus){ .is_full = true };
}

static void put(struct line *l, const char *s, size_t n)
{
    if (n > 0 && msgpack_sbuffer_write(l->to, s, n) != 0)
        l->p->is_full = true;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* Help texts escape \ and newline, label values " as well. */
static void put_escaped(struct line *l, const char *s, bool quotes)
{
    for (; *s != '\0'; s++) {
        if (*s == '\n')
            put_str(l, "\\n");
        else if (*s == '\\')
            put_str(l, "\\\\");
        else if (*s == '"' && quotes)
            put_str(l, "\\\"");
        else
            put(l, s, 1);
    }
}

static bool is_name(const char *s, const char *first)
{
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t n = s != NULL ? strlen(s) : 0;
    return n > 0 && n < 128 && strspn(s, all) == n && strchr(first, s[0]) == NULL;
}

static void begin_group(struct line *l, const struct metric *m)
{
    put_str(l, "# HELP ");
    put_str(l, m->name);
    put_str(l, " ");
    put_escaped(l, m->help != NULL ? m->help : "", false);
    put_str(l, "\n# TYPE ");
    put_str(l, m->name);
    put_str(l, m->kind == METRIC_COUNTER ? " counter\n" : " gauge\n");
}

/* The group of this metric's name, begun if it is new. NULL when there is no room. */
static struct prometheus_group *group_of(struct prometheus *p, const struct metric *m)
{
    for (size_t i = p->n_groups; i-- > 0;) /* mostly the last one */
        if (strcmp(p->groups[i].name, m->name) == 0)
            return &p->groups[i];
    if (p->n_groups == PROMETHEUS_GROUPS_MAX)
        return NULL;
    if ((p->n_groups & (p->n_groups - 1)) == 0) { /* full at each power of two */
        size_t cap = p->n_groups == 0 ? 1 : 2 * p->n_groups;
        struct prometheus_group *more = realloc(p->groups, cap * sizeof *more);
        if (more == NULL)
            return NULL;
        p->groups = more;
    }
    struct prometheus_group *g = &p->groups[p->n_groups++];
    snprintf(g->name, sizeof g->name, "%s", m->name);
    msgpack_sbuffer_init(&g->text);
    begin_group(&(struct line){ p, &g->text }, m);
    return g;
}

void prometheus_add(void *arg, const struct metric *m)
{
    struct prometheus *p = arg;
    char value[32];
    if (!is_name(m->name, "0123456789") || (m->label != NULL && !is_name(m->label, "0123456789")))
        return;
    struct prometheus_group *g = group_of(p, m);
    if (g == NULL) {
        p->is_full = true;
        return;
    }
    struct line l = { p, &g->text };
    put_str(&l, m->name);
    if (m->label != NULL) {
        put_str(&l, "{");
        put_str(&l, m->label);
        put_str(&l, "=\"");
        put_escaped(&l, m->value_of_label != NULL ? m->value_of_label : "", true);
        put_str(&l, "\"}");
    }
    snprintf(value, sizeof value, " %" PRIu64 "\n", m->value);
    put_str(&l, value);
}

void prometheus_end(struct prometheus *p)
{
    struct line l = { p, &p->text };
    for (size_t i = 0; i < p->n_groups; i++)
        put(&l, p->groups[i].text.data, p->groups[i].text.size);
}
