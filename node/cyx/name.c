/* cyx name add, rm, ls; cyx key new, show. */
#include "node/cyx/endpoint.h"

/* ---- names ----------------------------------------------------------------------------------- */

static int show_added(const struct cli *c, const msgpack_object *r)
{
    char name[CYX_CELL], address[CYX_CELL];
    if (!cli_flag(c, "json"))
        printf("%s.cyx is %s\n", show_str(r, "name", name, sizeof name),
               show_str(r, "address", address, sizeof address));
    return CLI_OK;
}

int cyx_name_add(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 2);
    endpoint_params_str(&p, "name", c->args[0]);
    endpoint_params_str(&p, "address", c->args[1]);
    return endpoint_call(c, "name-set", &p, NULL, NULL, show_added);
}

static int show_removed(const struct cli *c, const msgpack_object *r)
{
    char name[CYX_CELL];
    if (!cli_flag(c, "json"))
        printf("%s is gone\n", show_str(r, "name", name, sizeof name));
    return CLI_OK;
}

int cyx_name_rm(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 1);
    endpoint_params_str(&p, "name", c->args[0]);
    return endpoint_call(c, "name-rm", &p, NULL, NULL, show_removed);
}

/* Two columns of strings. */
static int show_pairs(const msgpack_object *r, const char *const titles[2],
                      const char *const keys[2])
{
    char text[CYX_CELL];
    struct show_table *t = show_table_create(titles, 2);
    for (uint32_t i = 0; r->type == MSGPACK_OBJECT_ARRAY && i < r->via.array.size; i++)
        for (unsigned k = 0; k < 2; k++)
            show_table_cell(t, show_str(&r->via.array.ptr[i], keys[k], text, sizeof text));
    show_table_print(t, stdout);
    show_table_destroy(t);
    return CLI_OK;
}

static int show_names(const struct cli *c, const msgpack_object *r)
{
    static const char *const titles[] = { "NAME", "ADDRESS" }, *const keys[] = { "name",
                                                                                 "address" };
    char text[CYX_CELL];
    if (cli_flag(c, "json"))
        return CLI_OK;
    if (!cli_flag(c, "names"))
        return show_pairs(r, titles, keys);
    for (uint32_t i = 0; r->type == MSGPACK_OBJECT_ARRAY && i < r->via.array.size; i++)
        puts(show_str(&r->via.array.ptr[i], "name", text, sizeof text));
    return CLI_OK;
}

int cyx_name_ls(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 0);
    return endpoint_call(c, "names", &p, NULL, NULL, show_names);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int show_key(const struct cli *c, const msgpack_object *r)
{
    char text[CYX_CELL];
    if (!cli_flag(c, "json"))
        puts(show_str(r, "key", text, sizeof text));
    return CLI_OK;
}

int cyx_key_new(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 2);
    endpoint_params_str(&p, "name", c->args[0]);
    endpoint_params_bool(&p, "replace", cli_flag(c, "replace"));
    return endpoint_call(c, "key-new", &p, NULL, NULL, show_key);
}

static int show_keys(const struct cli *c, const msgpack_object *r)
{
    static const char *const titles[] = { "KEY", "ADDRESS" }, *const keys[] = { "key", "address" };
    if (c->n_args > 0 && (r->type != MSGPACK_OBJECT_ARRAY || r->via.array.size == 0))
        return cli_error(c, CLI_FAILED, "there is no client key for %s: `cyx key new` draws one",
                         c->args[0]);
    return cli_flag(c, "json") ? CLI_OK : show_pairs(r, titles, keys);
}

int cyx_key_show(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, c->n_args);
    if (c->n_args > 0)
        endpoint_params_str(&p, "name", c->args[0]);
    return endpoint_call(c, "keys", &p, NULL, NULL, show_keys);
}
